/* Upper and lower case, as in Python's str. Source: Unicode (14 and 15 agree about it). */
#pragma once
#include "core/template/values/value.h"

enum string_case { STRING_LOWER, STRING_UPPER, STRING_TITLE, STRING_CAPITALIZED, STRING_WORDS };
/* STRING_TITLE is Python's str.title, STRING_WORDS the filter "title" of Jinja2. */
MUST_USE int string_change_case(struct context *c, struct string s, enum string_case to, struct value *out);
bool string_has_case(struct string s, enum string_case wanted); /* islower, isupper */
