/* Says why a template cannot be compiled. Any thread. */
#pragma once
#include "core/base/err.h"

/* "chat_template_unsupported", with the line. */
int syntax_refuse(int line, struct err *e, const char *format, ...) __attribute__((format(printf, 3, 4)));
