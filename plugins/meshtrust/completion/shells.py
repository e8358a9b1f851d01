"""Scripts for shells: they ask the plugin itself, and leave to kubectl's own completion what is not the plugin's."""

from __future__ import annotations

_BASH = r"""# Completion of kubectl istio-tool. Try it: source <(kubectl istio-tool completion bash)
# Lasting: put that line into ~/.bashrc, behind the one of kubectl's own completion.

_kubectl_istio_tool_answer() { # $1: how many words stand before the plugin's own
    local line=${COMP_LINE:0:COMP_POINT} words reply value current=${COMP_WORDS[COMP_CWORD]}
    read -ra words <<<"$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    reply=$(kubectl-istio_tool __complete "${words[@]:$1}" 2>/dev/null) || return
    COMPREPLY=()
    while IFS=$'\t' read -r value _; do
        [[ $value && $value != :[0-9] ]] && COMPREPLY+=("$value")
    done <<<"$reply"
    # bash ends words at = and at colons: what stands before its last part is there already.
    local typed=${words[${#words[@]} - 1]}
    [[ $typed == -*=* ]] && typed=${typed#*=}
    [[ $current == [=:] ]] && current=
    local before=${typed%"$current"}
    COMPREPLY=("${COMPREPLY[@]#"$before"}")
    [[ $reply == *:0 ]] && compopt -o default 2>/dev/null
    return 0
}

_kubectl_istio_tool() {
    _kubectl_istio_tool_answer 1
}

_kubectl_or_istio_tool() {
    if [[ ${COMP_WORDS[1]} == istio[-_]"$_kubectl_istio_tool_name" && $COMP_CWORD -gt 1 ]]; then
        _kubectl_istio_tool_answer 2
    elif [[ $_kubectl_before_istio_tool ]]; then
        "$_kubectl_before_istio_tool" "$@"
    fi
}

_kubectl_istio_tool_name=istio_tool
_kubectl_istio_tool_name=${_kubectl_istio_tool_name#istio_}
complete -F _kubectl_istio_tool kubectl-istio_tool
if [[ -z ${_kubectl_before_istio_tool+set} ]]; then # else it stands in the chain already
    _kubectl_before_istio_tool=$(complete -p kubectl 2>/dev/null | sed -n 's/.* -F \([^ ]*\) .*/\1/p')
    complete -o default -F _kubectl_or_istio_tool kubectl
fi
"""

_ZSH = r"""#compdef kubectl-istio_tool
# Completion of kubectl istio-tool. Try it: source <(kubectl istio-tool completion zsh)
# Lasting: put that line into ~/.zshrc, behind compinit and the one of kubectl's own completion.

_kubectl_istio_tool_answer() { # $1: which word is the plugin's first
    local -a lines described
    local line value meaning directive
    lines=("${(@f)$(kubectl-istio_tool __complete "${(@Q)words[$1,CURRENT]}" 2>/dev/null)}")
    directive=${lines[-1]}
    for line in "${(@)lines[1,-2]}"; do
        value=${line%%$'\t'*}
        meaning=${line#$value}
        described+=("${value//:/\\:}:${meaning#$'\t'}")
    done
    [[ $PREFIX == -*=* ]] && compset -P '*='
    if [[ $directive == :0 ]]; then
        _files
    else
        _describe -V value described
    fi
}

_kubectl_istio_tool() {
    _kubectl_istio_tool_answer 2
}

_kubectl_or_istio_tool() {
    if [[ ${words[2]//-/_} == istio_tool ]] && (( CURRENT > 2 )); then
        _kubectl_istio_tool_answer 3
    elif [[ -n $_kubectl_before_istio_tool ]]; then
        $_kubectl_before_istio_tool "$@"
    fi
}

compdef _kubectl_istio_tool kubectl-istio_tool
if [[ -z ${_kubectl_before_istio_tool+set} ]]; then # else it stands in the chain already
    _kubectl_before_istio_tool=${_comps[kubectl]}
    compdef _kubectl_or_istio_tool kubectl
fi
"""

_FISH = r"""# Completion of kubectl istio-tool. Try it: kubectl istio-tool completion fish | source
# Lasting: kubectl istio-tool completion fish >~/.config/fish/completions/kubectl-istio_tool.fish

function __kubectl_istio_tool --argument-names first
    set -l words (commandline --tokenize --cut-at-cursor --current-process)
    set -a words (commandline --current-token --cut-at-cursor)
    set -l lines (kubectl-istio_tool __complete $words[$first..-1] 2>/dev/null)
    if test "$lines[-1]" = :0
        __fish_complete_path (commandline --current-token --cut-at-cursor)
        return
    end
    set -l before (string match --regex -- '^-.*?=' $words[-1])
    for line in $lines
        string match --quiet --regex '^:\d$' -- $line; or echo "$before$line"
    end
end

function __kubectl_names_istio_tool
    set -l words (commandline --tokenize --cut-at-cursor --current-process)
    test (count $words) -gt 1; and test (string replace --all - _ -- $words[2]) = istio_tool
end

complete --command kubectl-istio_tool --no-files --keep-order --arguments '(__kubectl_istio_tool 2)'
complete --command kubectl --condition __kubectl_names_istio_tool --no-files --keep-order \
    --arguments '(__kubectl_istio_tool 3)'
"""

SHELLS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}
