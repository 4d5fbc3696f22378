"""Command lines from dataclasses, by tyro: each setting is an option, with its comment as help.

    call, config = read_command(Call, find_preset("tiny"), sys.argv[1:], prog=..., description=...)

Options have no group name (`--batch-size 8`), except loss weights and quirks (`--weights.clip 0`).
A switch is `--mim-from-mean` or `--no-mim-from-mean`, a mapping is written as JSON. Each option may
be given once. A wrong call ends with one line on stderr and exit status 2, before data are read.
"""

import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import MISSING, fields, make_dataclass
from difflib import get_close_matches
from io import StringIO
from itertools import dropwhile, takewhile
from typing import Any, NoReturn, TypeVar, get_origin, get_type_hints

from mg3d.config.checks import Checked, describe

Call = TypeVar("Call")
Config = TypeVar("Config")


def read_command(
    call: type[Call], config: Config, arguments: Sequence[str], *, prog: str, description: str
) -> tuple[Call, Config]:
    """Parse a command line; exit with one line on stderr and status 2 if it is wrong.

    Args:
        call: dataclass of the options that are not settings, such as folders.
        config: groups of settings, which are the defaults of the options; None: no settings.
        arguments: without the program's name.
        prog: the command, for messages.
        description: for `--help`.
    """
    import tyro

    groups: dict[str, Checked] = {} if config is None else dict(vars(config))
    options = list_options(call, groups)
    required = [f"--{item.name}" for item in fields(call) if item.default is MISSING]  # type: ignore[arg-type]
    if problem := find_unclear(arguments, options, required):
        stop(problem, prog)
    omit = tyro.conf.OmitArgPrefixes
    root: Any = make_dataclass(
        "Settings",
        [("call", omit[call])]
        + [(n, type(g) if g.prefix else omit[type(g)], g) for n, g in groups.items()],
        kw_only=True,
    )
    printed = StringIO()
    try:
        with redirect_stderr(printed):
            parsed = tyro.cli(
                root, prog=prog, description=description, args=arguments, registry=_registry()
            )
        return parsed.call, type(config)(**{name: getattr(parsed, name) for name in groups})
    except ValueError as error:  # settings that contradict each other
        stop(str(error), prog)
    except SystemExit as exit_:
        if exit_.code:
            stop(_reason(printed.getvalue(), arguments, options), prog)
        raise


def list_options(call: type, groups: Mapping[str, Checked]) -> dict[str, Any]:
    """Every option, such as `--batch-size` -> annotation of its setting."""
    options: dict[str, Any] = {}
    for kind in (call, *map(type, groups.values())):
        hints = get_type_hints(kind, include_extras=True)
        written = "--" + getattr(kind, "prefix", "")
        options |= {written + f.name.replace("_", "-"): hints[f.name] for f in fields(kind)}
    return options


def given_values(arguments: Sequence[str]) -> list[tuple[str, list[str]]]:
    """The options of a command line in order, each with its values."""
    given: list[tuple[str, list[str]]] = []
    for word in arguments:
        if word.startswith("--"):
            name, equals, value = word.partition("=")
            given.append((name.replace("_", "-"), [value] if equals else []))
        elif given:
            given[-1][1].append(word)
    return given


def find_unclear(
    arguments: Sequence[str], options: Mapping[str, Any], required: Sequence[str]
) -> str:
    """Unknown, repeated or missing options: the error message, "" if there are none."""
    seen: dict[str, str] = {}
    if arguments and not arguments[0].startswith("-"):
        return f"expected an option, got '{arguments[0]}'"
    for name, words in given_values(arguments):
        positive = name.replace("--no-", "--", 1)
        option = positive if options.get(positive) is bool and name not in options else name
        written = " ".join([name, *words])
        if option in seen:
            return f"{option} is given twice ({seen[option]} and {written}); give it once"
        seen[option] = written
        if option == "--help":
            continue
        if option not in options:
            near = get_close_matches(option, options, n=3, cutoff=0.6)
            meant = f"did you mean {' or '.join(near)}?" if near else "--help lists every option"
            return f"there is no option {name}; {meant}"
        if options[option] is bool and words:
            off = option.replace("--", "--no-", 1)
            return f"{option} is a switch, {option} or {off}, got {written}"
    missing = [option for option in required if option not in seen]
    asks_for_help = {"-h", "--help"} & set(arguments)
    return f"{' and '.join(missing)} must be given" if missing and not asks_for_help else ""


@contextmanager
def errors_in_one_line(prog: str) -> Iterator[None]:
    """Turn errors that a user can cause into one line on stderr and an exit status.

    Status 2: files that cannot be read or written, and every ValueError raised by mg3d. Status 1:
    numbers that are not finite. Errors raised by other libraries keep their traceback, since they
    point to a bug.
    """
    try:
        yield
    except OSError as error:
        stop(str(error), prog)
    except (ValueError, FloatingPointError) as error:
        if not _raised_by_mg3d(error):
            raise
        stop(str(error), prog, status=2 if isinstance(error, ValueError) else 1)


def stop(message: str, prog: str, *, status: int = 2) -> NoReturn:
    """Exit with one line on stderr."""
    print(f"{prog}: error: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(status)


def _raised_by_mg3d(error: BaseException) -> bool:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and str(trace.tb_frame.f_globals["__name__"]).startswith("mg3d.")


def _reason(printed: str, arguments: Sequence[str], options: Mapping[str, Any]) -> str:
    """The message that tyro prints in a box, without the box; of an option, in our own words."""
    lines = [line.strip("│ ") for line in printed.splitlines()[1:]]  # the first one is a title
    body = dropwhile(lambda line: not line.strip("─-"), lines)
    message = " ".join(takewhile(lambda line: line.strip("─-╰╯"), body))
    words = message.partition("Unrecognized options: ")[2].split(", ")
    for name, values in given_values(arguments):
        if re.search(rf"{name}(?![\w.-])", message) or set(words) & set(values):
            return f"{name} is {describe(options[name])}, got {' '.join(values) or 'no value'}"
    return re.sub(r"^Error parsing \S+: ", "", message)


def _registry() -> Any:
    """Teach tyro to parse a mapping from one JSON value."""
    from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec

    registry = ConstructorRegistry()

    @registry.primitive_rule
    def mapping(info: Any) -> PrimitiveConstructorSpec[Any] | None:
        if get_origin(info.type) is not Mapping:
            return None
        return PrimitiveConstructorSpec(
            nargs=1,
            metavar="JSON",
            instance_from_str=lambda words: json.loads(words[0]),
            is_instance=lambda value: isinstance(value, Mapping),
            str_from_instance=lambda value: [json.dumps(value)],
        )

    return registry
