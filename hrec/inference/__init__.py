"""Using a trained model: lists for known and new users, and vectors for other programs.

trained = load_run("output/DURation-planted-small-20260101-120000")
lists = recommend(trained, ["u7", "u8"], k=10, kind="book")
lists = recommend(trained, new_users(trained, "history.csv"))
export(trained, "parquet", Path("vectors"))
"""

from hrec.inference.export import export
from hrec.inference.history import NewUsers, new_users
from hrec.inference.lists import recommend
from hrec.inference.trained import Trained, load_run

__all__ = ["NewUsers", "Trained", "export", "load_run", "new_users", "recommend"]
