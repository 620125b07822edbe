"""`evallint completion`: scripts for bash, zsh and fish, made from the parsers, so that they know every option."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

_FOLDERS = ("DIR",)
_FILES = ("PATH", "FILE", "CONFIG", "SCRIPT")
_CODES = ("CODES", "CODE")


@dataclass(frozen=True, slots=True)
class _Word:
    """One option or place of a command: its spellings, what it takes (`choices`, or one of the kinds below; empty: nothing), its help."""

    names: tuple[str, ...]
    takes: str
    choices: tuple[str, ...]
    help: str


_Command = tuple[str, list[_Word]]
"""A command's help, and its words."""


def script(
    shell: str, main: argparse.ArgumentParser, commands: Mapping[str, tuple[str, argparse.ArgumentParser]], codes: Iterable[str]
) -> str:
    """The script for `shell` (bash, zsh or fish). `commands` have a line of help and a parser each; `codes` complete what takes codes."""
    known = {"": ("", _words(main, codes)), **{name: (said, _words(parser, codes)) for name, (said, parser) in commands.items()}}
    return {"bash": _bash, "zsh": _zsh, "fish": _fish}[shell](known)


def _words(parser: argparse.ArgumentParser, codes: Iterable[str]) -> list[_Word]:
    rows = []
    for action in parser._actions:
        metavar = str(action.metavar or "")
        choices = tuple(map(str, action.choices or ())) or (tuple(codes) if metavar in _CODES else ())
        takes = "" if action.nargs == 0 else "codes" if metavar == "CODES" else "choices" if choices else "other"
        if takes == "other":
            takes = "folders" if metavar in _FOLDERS else "files" if metavar in _FILES else "other"
        said = "" if action.help in (None, argparse.SUPPRESS) else re.sub(r"\s+", " ", str(action.help))
        rows.append(_Word(tuple(action.option_strings), takes, choices, said))
    return rows


# bash: also version 3.2, which macOS has

_BASH = """\
# bash completion for evallint; made by `evallint completion bash`
_evallint() {
    local IFS=$' \\t\\n' cur prev before="" command=""
    cur="${COMP_WORDS[COMP_CWORD]}" prev="${COMP_WORDS[COMP_CWORD-1]}"
    if [ "$cur" = "=" ]; then
        cur=""
    elif [ "$prev" = "=" ] && [ "$COMP_CWORD" -gt 1 ]; then
        prev="${COMP_WORDS[COMP_CWORD-2]}"
    fi
    COMPREPLY=()
    if [ "$COMP_CWORD" -gt 1 ]; then
        case "${COMP_WORDS[1]}" in
            @COMMANDS@) command="${COMP_WORDS[1]}" ;;
        esac
    fi
    case "$command $prev" in
@VALUES@
    esac
    case "$cur" in
        -*)
            case "$command" in
@OPTIONS@
            esac
            return ;;
    esac
    case "$command" in
@PLACES@
    esac
    if [ "$COMP_CWORD" -eq 1 ]; then
        COMPREPLY=( $(compgen -W "@WORDS@" -- "$cur") )
    fi
    IFS=$'\\n'
    COMPREPLY+=( $(compgen -f -- "$cur") )
}
complete -o filenames -F _evallint evallint"""


def _bash(commands: Mapping[str, _Command]) -> str:
    values, options, places = [], [], []
    for name, (_, words) in commands.items():
        listed = " ".join(spelling for word in words for spelling in word.names)
        options.append(f'                "{name}") COMPREPLY=( $(compgen -W "{listed}" -- "$cur") ) ;;')
        for word in words:
            if word.names and word.takes:
                asked = "|".join(f'"{name} {spelling}"' for spelling in word.names)
                values.append(f"        {asked}) {_bash_value(word)}return ;;")
            elif word.takes in ("choices", "folders"):
                places.append(f'        "{name}") {_bash_value(word)}return ;;')
    names = [name for name in commands if name]
    filled = {"COMMANDS": "|".join(names), "WORDS": " ".join(names)}
    filled |= {"VALUES": "\n".join(values), "OPTIONS": "\n".join(options), "PLACES": "\n".join(places)}
    return _filled(_BASH, filled)


def _bash_value(word: _Word) -> str:
    listed = " ".join(word.choices)
    return {
        "choices": f'COMPREPLY=( $(compgen -W "{listed}" -- "$cur") ); ',
        "codes": f'before="${{cur%"${{cur##*,}}"}}"; COMPREPLY=( $(compgen -P "$before" -W "{listed}" -- "${{cur##*,}}") ); ',
        "files": "IFS=$'\\n'; COMPREPLY=( $(compgen -f -- \"$cur\") ); ",
        "folders": "IFS=$'\\n'; COMPREPLY=( $(compgen -d -- \"$cur\") ); ",
        "other": "",
    }[word.takes]


def _filled(template: str, values: Mapping[str, str]) -> str:
    for name, text in values.items():
        template = template.replace(f"@{name}@", text)
    return template


# zsh

_ZSH = """\
#compdef evallint
# zsh completion for evallint; made by `evallint completion zsh`
_evallint() {
    local -a commands
    commands=(
@COMMANDS@
    )
    if (( CURRENT > 2 )) && [[ -n ${(M)commands:#$words[2]:*} ]]; then
        local command=$words[2]
        shift words
        (( CURRENT-- ))
        case $command in
@SUBCOMMANDS@
        esac
        return
    fi
    (( CURRENT == 2 )) && [[ $words[2] != -* ]] && _describe command commands
    _arguments -S \\
@MAIN@
}
if [ "$funcstack[1]" = "_evallint" ]; then
    _evallint "$@"
else
    compdef _evallint evallint
fi"""


def _zsh(commands: Mapping[str, _Command]) -> str:
    rows = {name: [_zsh_word(word, name) for word in words] for name, (_, words) in commands.items()}
    cases = []
    for name, words in rows.items():
        if name:
            cases.append(f"            {name}) _arguments -S \\\n" + " \\\n".join(f"                {word}" for word in words) + " ;;")
    described = [_quoted(f"{name}:{said}") for name, (said, _) in commands.items() if name]
    return _filled(
        _ZSH,
        {
            "COMMANDS": "\n".join(f"        {row}" for row in described),
            "SUBCOMMANDS": "\n".join(cases),
            "MAIN": " \\\n".join(f"        {row}" for row in rows[""]),
        },
    )


def _zsh_word(word: _Word, command: str) -> str:
    listed = " ".join(word.choices)
    value = {
        "": "",
        "choices": f"({listed})",
        "codes": f"_values -s , code {listed}",
        "files": "_files",
        "folders": "_files -/",
        "other": " ",
    }[word.takes]
    if not word.names:
        return _quoted(("1" if command in ("rule", "clean", "completion") else "*") + f": :{value}")
    said = re.sub(r"([\[\]:\\])", r"\\\1", word.help)
    return " ".join(_quoted(f"*{_zsh_option(name, word.takes)}[{said}]" + (f": :{value}" if word.takes else "")) for name in word.names)


def _zsh_option(name: str, takes: str) -> str:
    """An option's name; with `=` its value may be joined to it."""
    return f"{name}=" if takes and name.startswith("--") else name


# fish


def _fish(commands: Mapping[str, _Command]) -> str:
    names = " ".join(name for name in commands if name)
    rows = ["# fish completion for evallint; made by `evallint completion fish`"]
    top = f"not __fish_seen_subcommand_from {names}"
    for name, (said, words) in commands.items():
        when = f"__fish_seen_subcommand_from {name}" if name else top
        if name:
            rows.append(f"complete -c evallint -n '__fish_is_nth_token 1' -a {name} -d {_quoted(said)}")
        for word in words:
            flags = " ".join(f"-l {n[2:]}" if n.startswith("--") else f"-s {n[1:]}" for n in word.names)
            rows.append(" ".join(filter(None, (f"complete -c evallint -n {_quoted(when)}", flags, _fish_value(word), _fish_help(word)))))
    return "\n".join(rows)


def _fish_value(word: _Word) -> str:
    listed = " ".join(word.choices)
    listing = {
        "choices": f"-x -a {_quoted(listed)}",
        "codes": f"-x -a {_quoted(f'(__fish_append , {listed})')}",
        "folders": "-x -a '(__fish_complete_directories)'",
        "files": "-r -F" if word.names else "-F",
        "other": "-x",
        "": "",
    }[word.takes]
    return listing if word.names else listing.replace("-x ", "-f ")


def _fish_help(word: _Word) -> str:
    return f"-d {_quoted(word.help)}" if word.help else ""


def _quoted(text: str) -> str:
    """A text in single quotes, as all three shells read it."""
    return "'" + text.replace("'", "'\\''") + "'"
