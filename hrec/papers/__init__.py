"""One folder for each paper whose tables and figures can be reproduced."""
