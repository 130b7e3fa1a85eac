/* The thread that reads files: see live.h. */
#pragma once
#include "adapters/jobs/running/live.h"

void *prepare_main(void *runner);
