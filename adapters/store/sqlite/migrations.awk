# awk -f migrations.awk migrations/0001_initial.sql ... > migrations.c
# Numbers must run 1, 2, 3 ... without a gap: the daemon steps a database from one to the next.

function fail(message) {
    print "migrations.awk: " message > "/dev/stderr"
    failed = 1
    exit 1
}

BEGIN {
    print "#include \"adapters/store/sqlite/migrations.h\"\n"
    print "const struct migration migrations[] = {"
}

FNR == 1 {
    name = FILENAME
    sub(/.*\//, "", name)
    sub(/\.sql$/, "", name)
    if (name !~ /^[0-9][0-9][0-9][0-9]_[a-z0-9_]+$/)
        fail(FILENAME ": the name must be NNNN_words.sql")
    if (substr(name, 1, 4) + 0 != count + 1)
        fail(FILENAME ": expected number " count + 1)
    if (count++)
        print "    },"
    print "    {"
    print "        " count ", \"" name "\","
}

{
    line = $0
    gsub(/["\\]/, "\\\\&", line)
    print "        \"" line "\\n\""
}

END {
    if (failed)
        exit 1
    if (count)
        print "    },"
    else
        print "    {0, \"\", \"\"},"
    print "};"
    print "const size_t migrations_count = " count + 0 ";"
}
