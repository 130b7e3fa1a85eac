/* The thread that writes to the registry, publishes, and decides who runs: see live.h. */
#pragma once
#include "adapters/jobs/running/live.h"

void *keeper_main(void *runner);
