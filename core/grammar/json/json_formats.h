/* The formats of strings that JSON Schema names (2020-12, section 7.3), as regular expressions. Each holds
 * only texts that have the format, and those that people write; docs/structured-output.md tells what is left
 * out. */
#pragma once

/* NULL: not known. "": any string. */
const char *json_format(const char *name);
