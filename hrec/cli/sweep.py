"""Search the settings of a model with Optuna, on the validation part alone.

    hrec sweep duration --data epinions --trials 30
    hrec sweep duration opt.epochs=30 --space configs/sweeps/duration.json --jobs 2

The space is a JSON file of settings and what each may be (configs/sweeps/). Settings, space, metric,
data and seed identify a study, and it has its own folder under --out. Repeat the command to continue after a stop. Run
it on another machine that sees the folder to share the work. Give more --trials to search further. The number of
--trials is that of the whole study. A trial that diverged counts. One that was stopped or killed does not, and is tried
again with its settings.

At the end: report.md, table.csv, history.png, importance.png and best.json, and the best settings as overrides.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shlex
from collections.abc import Sequence
from pathlib import Path

from optuna.pruners import MedianPruner, NopPruner
from optuna.trial import FrozenTrial, TrialState

from hrec.cli.arguments import too_small
from hrec.cli.ending import status_of
from hrec.config import CONFIG_DIR, ConfigError, LoadedConfig, load, path_argument, shipped
from hrec.experiments.command import training_command
from hrec.experiments.runs import digests_of
from hrec.models import find_model
from hrec.pipeline.building import effective_settings
from hrec.pipeline.checks import check_settings
from hrec.pipeline.devices import reuse_memory
from hrec.pipeline.metrics import direction
from hrec.pipeline.ranking_metrics import is_ranking
from hrec.tuning.report import write_report
from hrec.tuning.space import check_space, read_space
from hrec.tuning.study import Study
from hrec.tuning.trial import Search, metric_of
from hrec.tuning.work import work_off


def parser(prog: str | None = None) -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    p.add_argument("config", help="a name in configs/ (duration) or the path of a JSON file")
    p.add_argument("overrides", nargs="*", metavar="key.path=value", help="settings of every trial: opt.epochs=30")
    p.add_argument("--space", type=path_argument, help="what is searched; left out, configs/sweeps/<config>.json")
    p.add_argument("--data", help="a name in configs/data/; left out, the config's own")
    p.add_argument("--trials", type=int, default=30, help="of the whole study, whichever process does them")
    p.add_argument("--jobs", type=int, default=1, help="trials side by side; they share the cores")
    p.add_argument(
        "--metric", help="what to choose by: auc, auc/book, recall@10; left out, what early stopping watches"
    )
    p.add_argument("--seed", type=int, default=0, help="of the search; one process draws the same trials again")
    p.add_argument("--no-pruning", action="store_true", help="train every trial to its end")
    p.add_argument("--out", type=path_argument, default=Path("output/sweeps"), help="parent of the studies' folders")
    return p


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> int:
    """Run one command line; returns the exit status."""
    args = parser(prog).parse_intermixed_args(argv)
    reuse_memory()
    return status_of(lambda: sweep(args))


def sweep(args: argparse.Namespace) -> None:
    if problem := too_small(args, trials=1, jobs=1, seed=0):
        raise ConfigError(problem)
    fixed = tuple(([f"data={args.data}"] if args.data else []) + args.overrides)
    config = load(args.config, find_model, fixed)
    check_settings(config)
    path = args.space or shipped(CONFIG_DIR / "sweeps" / f"{Path(args.config).stem}.json")
    space = read_space(path)
    check_space(path, space, args.config, fixed)
    search = Search(args.config, fixed, space, metric_of(config, args.metric))
    folder = args.out / f"{Path(args.config).stem}-{config.run.data.name}-{digest(config, search, args.seed)}"
    pruner = NopPruner() if args.no_pruning else MedianPruner(n_startup_trials=5, n_warmup_steps=5)
    with Study(folder, space, direction(search.metric), args.seed, pruner) as study:
        if (done := len(study.done())) > args.trials:
            raise ConfigError(
                f"--trials: study {folder} has {done} already; give --trials {done} for its report, or more to go on"
            )
        print(f"study {folder}: {done} of {args.trials} trials are done", flush=True)
        work_off(study, args.trials, args.jobs, search.value, lambda trial: tell(study, search, args.trials, trial))
        write_report(study, search)
    best = study.best()
    if best is None:
        raise ConfigError(f"{path}: no trial came to its end; a smaller 'high' of opt.hyper_params.lr may help")
    command = shlex.join([*training_command(), args.config, *fixed, *search.drawn(best.params)])
    print(f"settings of trial {best.number}: {folder / 'best.json'}, or\n{command}")


def digest(config: LoadedConfig, search: Search, seed: int) -> str:
    """Ten digits that differ where trials could not be compared, or would be drawn differently."""
    settings = effective_settings(config)
    compared = {key: settings[key] for key in ("data", "model", "opt", "seed")} | {"content": digests_of(config)}
    if is_ranking(search.metric):
        compared["ranking"] = {key: value for key, value in settings["ranking"].items() if key != "eval_memory_mb"}
    compared |= {"space": {name: parameter.model_dump() for name, parameter in search.space.items()}}
    compared |= {"metric": search.metric, "sampler": seed}
    return hashlib.blake2b(json.dumps(compared, sort_keys=True).encode(), digest_size=5).hexdigest()


def tell(study: Study, search: Search, wanted: int, trial: FrozenTrial) -> None:
    """One line about a trial that has ended."""
    best = study.best()
    outcome = {
        TrialState.COMPLETE: f"valid {search.metric} {trial.value or 0:.4f}",
        TrialState.PRUNED: "pruned",
        TrialState.FAIL: trial.user_attrs.get("diverged", "was taken for dead by another process"),
    }[trial.state]
    so_far = f", best {best.value:.4f} of trial {best.number}" if best else ""
    drawn = " ".join(search.drawn(trial.params))
    print(f"{len(study.done())}/{wanted}  trial {trial.number}: {outcome}{so_far}  ({drawn})", flush=True)
