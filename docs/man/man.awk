# The text of a --help as mdoc: "  -n, --lines N  text" becomes an item of a list, other indented lines an
# example, the rest paragraphs. -v usage=1: the usage lines only; else what is behind the first empty line.

# A line as text: roff sees no command and no escape in it.
function plain(s) {
	gsub(/\\/, "\\e", s)
	gsub(/-/, "\\-", s)
	sub(/^[.']/, "\\\\\\&&", s)
	return s
}

# A text: each sentence on a line of its own, as mdoc wants it.
function text(s,    at) {
	while ((at = match(s, /[.!?] +[A-Z]/)) > 0) {
		print plain(substr(s, 1, at))
		s = substr(s, at + 1)
		sub(/^ +/, "", s)
	}
	print plain(s)
}

function close_block() {
	if (block == "list") {
		print ".El"
		paragraph = 1
	}
	if (block == "example")
		print ".Ed"
	block = ""
}

function open_block(kind) {
	if (block == kind)
		return
	close_block()
	paragraph = 0
	if (kind == "list")
		print ".Bl -tag -width Ds"
	if (kind == "example")
		print ".Bd -literal -offset indent"
	block = kind
}

# "-n, --lines N" and what follows two or more blanks.
function option(line,    at) {
	sub(/^ +/, "", line)
	at = match(line, /   *[^ ]/)
	print ".It " item(at ? substr(line, 1, at - 1) : line)
	if (at) {
		sub(/^ +/, "", line)
		line = substr(line, at)
		sub(/^ +/, "", line)
		text(line)
	}
	sub(/[^ ].*/, "", $0)
	indent = length($0)
}

# The names of an option as words that are no macros.
function item(names) {
	names = plain(names)
	gsub(/"/, "\\(dq", names)
	return "Sy \"" names "\""
}

BEGIN { head = 1 }

head && /^$/ {
	head = 0
	if (usage)
		exit
	next
}

head {
	if (usage) {
		sub(/^[Uu]sage: */, "")
		sub(/^ +/, "")
		print ".It Li"
		print plain($0)
	}
	next
}

/^$/ {
	if (block == "example" || block == "list")
		waiting = 1
	else
		paragraph = 1
	next
}

/^ +-/ && block != "example" {
	open_block("list")
	waiting = 0
	option($0)
	next
}

# the rest of an option's text
block == "list" && /^ +/ && match($0, /[^ ]/) && RSTART - 1 > indent {
	waiting = 0
	sub(/^ +/, "")
	text($0)
	next
}

/^ +/ {
	open_block("example")
	if (waiting)
		print ""
	waiting = 0
	print plain($0)
	next
}

{
	waiting = 0
	close_block()
	if (paragraph)
		print ".Pp"
	paragraph = 0
	text($0)
}

END { close_block() }
