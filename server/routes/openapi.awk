# awk -v version=0.1.0 -f openapi.awk server/routes/openapi.json > openapi.c

BEGIN {
    print "#include \"server/routes/openapi.h\"\n"
    print "const char openapi_json[] ="
}

{
    sub(/@VERSION@/, version)
    gsub(/["\\]/, "\\\\&")
    print "    \"" $0 "\\n\""
}

END {
    print "    ;"
    print "const size_t openapi_json_length = sizeof openapi_json - 1;"
}
