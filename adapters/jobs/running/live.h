/* What the runner's files share: a job that is in memory, and the runner itself. runner.c (life, what others
 * ask), keeper.c (the thread that writes), train.c (the thread that computes), prepare.c (the thread that
 * reads files), report.c (what was computed becomes events), publish.c (what was made becomes versions).
 *
 * A job passes from thread to thread by its stage, which the lock guards: what a stage's owner has, nobody
 * else looks at. */
#pragma once
#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>

#include "adapters/jobs/running/runner_options.h"
#include "adapters/jobs/running/work.h"
#include "adapters/registry/staged.h"

enum stage {
    STAGE_NEW,      /* the preparer may take it */
    STAGE_READING,  /* the preparer has it, and looks whether its files can be trained with */
    STAGE_CHECKED,  /* they can: the keeper writes that down */
    STAGE_WAITING,  /* for its turn and for memory; most have let go of their data */
    STAGE_LOADING,  /* the preparer has it, reads the data again where it is gone, and makes the trainer */
    STAGE_READY,    /* for the keeper to write down that it runs */
    STAGE_TRAINING, /* the trainer has it */
    STAGE_LEFT      /* the keeper's: done, stopped or failed */
};

/* A step or an evaluation, on its way to the keeper. */
struct report {
    STAILQ_ENTRY(report) link;
    struct train_report said;
    int64_t at_ms, tokens; /* trained by then */
    double tokens_per_second;
    struct staged *staged; /* owned; the adapter after this step, to be kept as a checkpoint; or NULL */
};
STAILQ_HEAD(reports, report);

struct live {
    TAILQ_ENTRY(live) link;
    struct job_row row; /* as it was last written. Its state is the keeper's; what it was made with stays */
    struct job_config config;
    const struct version *source; /* reference; NULL: the base */
    int weight;

    /* under the lock */
    enum stage stage;
    struct reports reports;
    int report_count;
    int unwritten; /* reports, also those that the keeper is at */
    size_t bytes;  /* that its trainer takes, and its longest example: since it was checked */
    int longest;
    bool taken; /* it may have them, or has them */
    int behind; /* jobs of its tenant that began while it waited, or ran when it came */

    atomic_bool stop; /* it is to come to the keeper as soon as it can be saved */

    /* its stage's owner's */
    struct work work;
    bool failed;
    struct err error;
    int64_t steps;              /* of all of it, since it was checked */
    double served;              /* tokens by weight, for whose turn it is; the trainer's */
    uint64_t saved_us, step_us; /* the last checkpoint, the last step; the trainer's */
    int64_t evaluated;          /* the keeper's: the last step whose evaluation was written down */
    double ms_per_step;         /* the keeper's */
    uint64_t began_us;          /* the keeper's: its turn */
    bool yields;                /* the keeper's: it makes room for another tenant's */
    int64_t step_ms;
};
TAILQ_HEAD(lives, live);

enum { RUNNING_MAX = 16, REPORTS_MAX = 256, PASS_TOKENS = 2048, CHECKPOINTS_KEPT = 5, EVENTS_MAX = 5000 };
enum { SAVE_INTERVAL_US = 110000000, READING_TENANT_MAX = 2, READING_FREE_BYTES = 256 << 10 };

/* An estimate that waits for a pass of its own. On the stack of who waits. */
struct measure {
    struct measure *next;
    struct work *work;
    double token_seconds;
    bool done, failed;
    struct err error;
};

struct runner {
    struct runner_options options;
    char *directory, *base; /* owned; what the options point at */
    const struct model_info *info;
    pthread_t keeper, trainer, preparer;
    int threads_started;

    /* Held from the look at a job's state to what follows from it, by who publishes and who cancels. */
    pthread_mutex_t states;

    pthread_mutex_t lock; /* for what follows */
    pthread_cond_t keeper_wake, trainer_wake, preparer_wake;
    struct lives lives;
    bool stopping, poked;
    bool trainer_ended, preparer_ended, pool_failed;
    pthread_cond_t measured;
    double work_tokens, work_seconds; /* trained lately, and in how long: see train.c */
    pthread_cond_t written;           /* reports were, or could not be: */
    bool write_failed;
    struct runner_stats stats;
    struct measure *measures;             /* estimates that wait for a pass of their own */
    uint32_t reading[RUNNER_READING_MAX]; /* tenants whose files requests read; 0: a free place */

    atomic_bool ending; /* no request reads on */

    /* the trainer's own */
    struct pool *pool;
    struct train_pass *pass;
    struct train_example *examples;
};

/* Under the lock. */
/* A new one, for the preparer. */
void live_add_locked(struct runner *r, struct live *l);
/* From now on the stage's next owner has it, who is woken. */
void live_pass_locked(struct runner *r, struct live *l, enum stage stage);

/* Whom the preparer takes next, or NULL. One whose files nobody has looked at: of the tenant that has had
 * fewest looked at, the oldest. One whose turn it is and that fits: of the tenant that has least running for
 * its weight, then of the one that has had fewest turns meanwhile, the oldest; where that does not fit nobody
 * passes it, or it would never run. */
struct live *live_unread_locked(struct runner *r);
struct live *live_turn_locked(struct runner *r);
/* It begins. */
void live_take_locked(struct runner *r, struct live *l);
/* One that has had its turn, where a tenant that has none waits for room; or NULL. */
struct live *live_to_yield_locked(struct runner *r, uint64_t now_us);

/* What those that run take, or are about to, with the pass for it. */
size_t live_bytes_locked(const struct runner *r);

/* Tokens of a pass that holds this many in one example, and the bytes that it takes. */
int live_pass_tokens(const struct runner *r, int longest);
size_t live_pass_bytes(const struct runner *r, int tokens);
