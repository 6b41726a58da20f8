#!/bin/sh
# Installs the Debian packages that are missing: setup.sh build|test|ci ... (several groups may be named).
#
# Says aloud what it installs before it does; uses sudo where not root; where it may not, prints the one command and
# exits with 2. When nothing is missing it is a matter of milliseconds and prints nothing.
set -u

build="gcc make libc6-dev pkg-config libuv1-dev libsqlite3-dev libzstd-dev libssl-dev libsodium-dev libjson-c-dev
  libisal-dev libxxhash-dev libhttp-parser-dev libcrypt-dev libjemalloc-dev libnats-dev tzdata"
test="python3 libcmocka-dev strace"
ci="e2fsprogs valgrind clang clang-format clang-tidy libclang-rt-14-dev llvm"

wanted=
for group in "$@"; do
    case $group in
    build) wanted="$wanted $build" ;;
    test) wanted="$wanted $test" ;;
    ci) wanted="$wanted $ci" ;;
    *) echo "setup.sh: no group \"$group\" (build, test, ci)" >&2; exit 2 ;;
    esac
done

if ! command -v dpkg-query >/dev/null 2>&1; then
    echo "setup.sh: not a Debian system; this needs the equivalents of:" $wanted >&2
    exit 2
fi

# A command that is there, however it came, needs no package.
have_command() {
    case $1 in
    gcc | make | python3 | strace | clang | clang-format | clang-tidy | pkg-config) command -v "$1" >/dev/null 2>&1 ;;
    *) return 1 ;;
    esac
}

installed=$(dpkg-query -W -f='${db:Status-Status} ${Package}\n' $wanted 2>/dev/null | sed -n 's/^installed //p' | tr '\n' ' ')
missing=
for p in $wanted; do
    case " $installed " in
    *" $p "*) ;;
    *) have_command "$p" || missing="$missing $p" ;;
    esac
done
[ -z "$missing" ] && exit 0

if [ "$(id -u)" = 0 ]; then
    as_root=
elif command -v sudo >/dev/null 2>&1 && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
    as_root=sudo
else
    echo "These Debian packages are missing, and installing them needs root. Run:"
    echo "  apt-get update && apt-get install -y --no-install-recommends$missing"
    exit 2
fi

echo "Installing missing Debian packages:$missing"
export DEBIAN_FRONTEND=noninteractive
install() { $as_root apt-get install -y -q --no-install-recommends $missing; }
if ! install >/dev/null 2>&1; then
    # The package lists may be absent or old.
    $as_root apt-get update -q >/dev/null 2>&1
    if ! install; then
        echo "Could not install them. Run, where it is allowed and the network is there:"
        echo "  apt-get update && apt-get install -y --no-install-recommends$missing"
        exit 2
    fi
fi
