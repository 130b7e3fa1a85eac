#!/bin/bash
# Writes a C file that holds the files of web/ and what gzip makes of them, for web_files.h.
#
#   server/console/embed.sh WEB DIRECTORY > FILE      DIRECTORY: for the compressed ones
set -euo pipefail
web=$1 out=$2
mkdir -p "$out"

media_type() {
    case $1 in
    *.html) echo "text/html; charset=utf-8" ;;
    *.js) echo "text/javascript; charset=utf-8" ;;
    *.css) echo "text/css; charset=utf-8" ;;
    *.svg) echo "image/svg+xml" ;;
    *.txt) echo "text/plain; charset=utf-8" ;;
    *) echo "embed: $1 is of no known type" >&2 && exit 1 ;;
    esac
}

hold() { # symbol, file
    printf '__asm__(".pushsection .rodata\\n%s: .incbin \\"%s\\"\\n%s_end: .byte 0\\n.popsection\\n");\n' "$1" "$2" "$1"
    printf 'extern const char %s[], %s_end[];\n' "$1" "$1"
}

printf '#include "server/console/web_files.h"\n'
names=$(cd "$web" && find . -type f | sed 's|^\./||' | LC_ALL=C sort)
table= i=0
while read -r name; do
    gzip -9nc "$web/$name" >"$out/$i.gz"
    hold "web_text_$i" "$web/$name"
    hold "web_gzip_$i" "$out/$i.gz"
    etag=$(sha256sum <"$web/$name" | cut -c 1-16)
    table+=$(printf '    {"%s", "%s", "%s", web_text_%d, web_text_%d_end, web_gzip_%d, web_gzip_%d_end},' \
        "$name" "$(media_type "$name")" "$etag" $i $i $i $i)$'\n'
    i=$((i + 1))
done <<<"$names"
printf 'const struct web_file web_files[] = {\n%s};\nconst size_t web_files_count = %d;\n' "$table" $i
