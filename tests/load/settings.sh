# shellcheck shell=sh
# The variables that tell the scripts beside this one what to do, for them to read in.

# refuse NAME WHAT: ends the script, as the variable's value is not WHAT.
refuse() {
	eval "given=\$$1"
	# shellcheck disable=SC2154 # set by eval
	echo "$(basename "$0" .sh): $1 is not $2: '$given'" >&2
	exit 64
}

# is_number VALUE FROM TO: 2, 0.5 and .5 are numbers.
is_number() {
	case $1 in
	'' | . | *[!0-9.]* | *.*.*) return 1 ;;
	esac
	awk -v value="$1" -v from="$2" -v to="$3" 'BEGIN { exit !(value + 0 >= from && value + 0 <= to) }'
}

is_whole() {
	case $1 in
	0?* | *.*) return 1 ;;
	esac
	is_number "$@"
}

# need_number NAME FROM TO
need_number() {
	eval "value=\$$1"
	is_number "$value" "$2" "$3" || refuse "$1" "a number from $2 to $3"
}

# need_whole NAME FROM TO
need_whole() {
	eval "value=\$$1"
	is_whole "$value" "$2" "$3" || refuse "$1" "a whole number from $2 to $3"
}

# need_wholes NAME FROM TO: one or more, with blanks between them.
need_wholes() {
	eval "values=\$$1"
	# No pattern of file names, and not nothing.
	case $values in
	*[!0-9\ ]*) values=none ;;
	*[0-9]*) ;;
	*) values=none ;;
	esac
	for value in $values; do
		is_whole "$value" "$2" "$3" || refuse "$1" "a list of whole numbers from $2 to $3"
	done
}

# need_words NAME WORD...: one or more of the WORDs, with blanks between them.
need_words() {
	name=$1
	shift
	eval "values=\$$name"
	case $values in
	*[!a-z\ -]*) values=none ;;
	*[a-z]*) ;;
	*) values=none ;;
	esac
	for value in $values; do
		case " $* " in
		*" $value "*) ;;
		*) refuse "$name" "a list of some of: $*" ;;
		esac
	done
}

# below NAME LEAST: says so if the variable's number is less than a whole run has.
below() {
	eval "value=\$$1"
	is_number "$value" "$2" 1000000 || echo "$1 is $value, less than $2"
}

# other NAME VALUE: says so if the variable has another value than a whole run has.
other() {
	eval "value=\$$1"
	[ "$value" = "$2" ] || echo "$1 is '$value'"
}
