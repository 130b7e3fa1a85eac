/* The thread that computes passes: see live.h. */
#pragma once
#include "adapters/jobs/running/live.h"

void *train_main(void *runner);
