# shellcheck shell=bash
# Sections of the environment collector about installed packages.
# shellcheck disable=SC2154  # variables of core.sh

start_rocm_packages_installed() { start_packages rocm_packages_installed; }
start_cuda_packages_installed() { start_packages cuda_packages_installed; }
section_rocm_packages_installed() {
    add_packages '^(roc|hip|hsa|miopen|rccl|comgr|amd|migraphx|composablekernel|half|openmp-extras|rpp|tensile)'
}
section_cuda_packages_installed() { add_packages '^(cuda|libcu|libnv|libnccl|libcudnn|nvidia|nccl|tensorrt|libnpp)'; }

# All packages of the distribution; the section picks.  $1 tag.
start_packages() {
    if type -P dpkg-query >/dev/null; then
        # shellcheck disable=SC2016  # a format of dpkg-query, not of the shell
        start "$1" dpkg-query -W -f '${db:Status-Abbrev}|${Package}|${Version}\n'
    else
        start "$1" rpm -qa
    fi
}

# dpkg gives <package>|<version>, rpm one package per line.  The text file keeps only these, too.
# $1 extended regular expression of names, lower case.
add_packages() {
    local line name
    have_text || return 0
    for line in "${LINES_READ[@]}"; do
        name=$line
        if [[ $line == *'|'*'|'* ]]; then
            # "ii |rocm-core|6.4.1": only what is installed.
            [[ $line == ?i* ]] || continue
            line=${line#*|}
            name=${line%%|*}
        fi
        [[ ${name,,} =~ $1 ]] && add_line "$line"
    done
    printf '%s' "$rocenv_text" >"$rocenv_dir/$rocenv_tag/$rocenv_tag.txt"
}

# <package>|<version> of the packages that python3 sees, read from their metadata: starting pip would take
# longer than all other sections together.
section_pip_list() {
    local directory directories=()
    local -A seen=()
    python_directories
    for directory in ${directories[@]+"${directories[@]}"}; do add_distributions "$directory"; done
}

# Package directories of python3 -> directories, in the order of its search path.
python_directories() {
    local python prefix version='' candidate line system=1
    split "${PYTHONPATH-}" :
    directories=(${PARTS[@]+"${PARTS[@]}"})
    python=$(type -P python3) || return 0
    prefix=${python%/bin/*}
    for candidate in "$prefix"/bin/python3.[0-9]*; do
        if [[ ${candidate##*/} =~ ^python(3\.[0-9]+)$ && $candidate -ef $python ]]; then
            version=${BASH_REMATCH[1]}
        fi
    done
    if [[ -z $version || ! ( -d $prefix/lib/python$version || -d $prefix/lib64/python$version ) ]]; then
        # A launcher of a version manager, or an unusual layout: ask the interpreter.
        line=$("$python" -c 'import sys; print("\n".join(sys.path[1:]))' 2>/dev/null </dev/null)
        split "$line" $'\n'
        directories=(${PARTS[@]+"${PARTS[@]}"})
        return
    fi
    if read_lines "$prefix/pyvenv.cfg"; then
        system=
        for line in "${LINES_READ[@]}"; do
            [[ $line =~ ^include-system-site-packages[[:space:]]*=[[:space:]]*true ]] && system=1
        done
    elif [[ -n ${HOME-} ]]; then
        directories+=("$HOME/.local/lib/python$version/site-packages")
    fi
    directories+=("$prefix"/lib{,64}/python"$version"/site-packages)
    if [[ -n $system ]]; then
        directories+=(/usr/local/lib{,64}/"python$version"/{dist,site}-packages)
        [[ $prefix == /usr || -e $prefix/pyvenv.cfg ]] &&
            directories+=(/usr/lib/python3/dist-packages /usr/lib{,64}/"python$version"/site-packages)
    fi
}

# Adds the distributions of one directory that no earlier directory had.  $1 directory.
add_distributions() {
    local entry file line name version key
    for entry in "$1"/*.dist-info "$1"/*.egg-info; do
        file=$entry
        if [[ -r $entry/METADATA ]]; then file=$entry/METADATA; elif [[ -r $entry/PKG-INFO ]]; then file=$entry/PKG-INFO; fi
        [[ -f $file && -r $file ]] || continue
        name=
        version=
        while IFS= read -r line && [[ -n ${line%$'\r'} ]]; do
            line=${line%$'\r'}
            case $line in
                'Name: '*) name=${line#Name: } ;;
                'Version: '*) version=${line#Version: } ;;
            esac
            [[ -n $name && -n $version ]] && break
        done <"$file"
        [[ -n $name && -n $version ]] || continue
        key=${name,,}
        key=${key//[-_.]/-}
        [[ -n ${seen[$key]+set} ]] && continue
        seen[$key]=1
        add "$name" "$version"
    done
}
