# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# shellcheck disable=SC2034 # the variables are for the scripts that source this
# What the host's scripts share: where things lie, how steps and errors are told.

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
repo=$(cd "$here/../../.." && pwd -P)
cache=${XDG_CACHE_HOME:-${HOME:?neither HOME nor XDG_CACHE_HOME is set}/.cache}/rust-ims
out=$repo/out
series=$(<"$here/series")

die()
{
	printf 'error: %s\n' "$*" >&2
	exit 1
}

# The last lines of a log, for an error that names it.
tail_of()
{
	tail -n "${2:-12}" "$1" | sed 's/^/  | /' >&2
}

clock()
{
	printf '%d:%02d' $(($1 / 60)) $(($1 % 60))
}

# need_space MEGABYTES WHAT: better said now than by a full disk half an hour later.
need_space()
{
	local free
	free=$(df -Pm "$cache" | awk 'NR == 2 { print $4 }')
	((free >= $1)) ||
		die "$2 needs $1 MB in $cache, which has $free MB free; free some, or point XDG_CACHE_HOME at a larger disk"
}

# Remove a tree that may have the root's own read-only directories in it; never cross a mount.
wipe()
{
	[[ -e $1 ]] || return 0
	if ((EUID)); then
		unshare --map-root-user rm -rf --one-file-system -- "$1"
	else
		rm -rf --one-file-system -- "$1"
	fi
}

# The root is named after what it was made from: another recipe is another root.
root_dir()
{
	local key
	key=$(cat "$here/series" "$here/packages" "$here/bootstrap" | sha256sum)
	printf '%s/root-%s' "$cache" "${key:0:12}"
}
