#include "cli/lib/commands.h"
#include "cli/training/training.h"

static const struct option no_options[] = {{0}};

static const struct option status_options[] = {
    {"--wait", "SECONDS", "wait so long until it is ready, 1..86400", 0},
    {0},
};

static const struct option list_options[] = {
    {"--limit", "N", "the first N only (default: all)", 0},
    {0},
};

static const struct option quota_options_list[] = {
    {"--adapters-max", "N", "adapters that it may have; none: no limit", 0},
    {"--adapter-bytes-max", "SIZE", "bytes of all versions together (K, M, G)", 0},
    {"--files-bytes-max", "SIZE", "bytes of all files to train with (K, M, G)", 0},
    {"--tokens-per-minute", "N", "of prompts and answers", 0},
    {"--requests-in-flight-max", "N", "at the same time", 0},
    {"--training-jobs-max", "N", "jobs that wait or run", 0},
    {"--training-tokens-per-day", "N", "of all jobs", 0},
    {"--training-rank-max", "N", "of a job", 0},
    {"--weight", "N", "of its share where tenants compete, 1..1000; none: 100", 0},
    {0},
};

static const struct option tenant_delete_options[] = {
    {"--yes", NULL, "do not ask", 0},
    {0},
};

static const struct option default_options[] = {
    {"--adapter", "NAME", "this adapter, with the version that is active then", 0},
    {"--base", NULL, "the bare base model", 0},
    {0},
};

static const struct option key_options[] = {
    {"--label", "TEXT", "what the key is for", 0},
    {"--expires-at", "TIME", "when it ends, like 2026-01-31T12:00:00Z (default: never)", 0},
    {"--out", "FILE", "write the key to a new FILE (mode 0600) and do not show it", 0},
    {0},
};

static const struct option rotate_options[] = {
    {"--grace", "SECONDS", "how long the old key goes on, 0..604800 (default: 3600)", 0},
    {"--expires-at", "TIME", "when the new key ends (default: never)", 0},
    {"--out", "FILE", "write the key to a new FILE (mode 0600) and do not show it", 0},
    {0},
};

#define TENANT_OPTION                                                                  \
    {                                                                                  \
        "--tenant", "TENANT", "whose (for an admin key; a tenant's key implies it)", 0 \
    }

static const struct option tenant_options[] = {TENANT_OPTION, {0}};

static const struct option adapter_list_options[] = {
    TENANT_OPTION,
    {"--label", "KEY:VALUE", "those with this label only", 0},
    {"--limit", "N", "the first N only (default: all)", 0},
    {0},
};

static const struct option usage_options[] = {
    {"--tenant", "TENANT", "of this tenant only, also of a deleted one (for an admin key)", 0},
    {"--adapter", "NAME", "of this adapter only", 0},
    {"--from", "DAY", "from this day on (UTC), YYYY-MM-DD", 0},
    {"--to", "DAY", "up to this day, itself included", 0},
    {"--limit", "N", "the first N only (default: all)", 0},
    {"--csv", NULL, "comma-separated, all columns", 0},
    {0},
};

static const struct option audit_options[] = {
    {"--tenant", "TENANT", "of this tenant only, also of a deleted one", 0},
    {"--limit", "N", "the N newest only, newest first (default: all)", 0},
    {"--csv", NULL, "comma-separated, all columns", 0},
    {0},
};

static const struct option delete_options[] = {
    TENANT_OPTION,
    {"--force", NULL, "also the active one: the name then means none", 0},
    {0},
};

static const struct option download_options[] = {
    TENANT_OPTION,
    {"--force", NULL, "replace files that are there already", 0},
    {0},
};

static const struct option file_list_options[] = {
    TENANT_OPTION,
    {"--purpose", "PURPOSE", "fine-tune, or fine-tune-results: what jobs left", 0},
    {"--limit", "N", "the first N only (default: all)", 0},
    {0},
};

static const struct option file_upload_options[] = {
    TENANT_OPTION,
    {"--expires-after", "SECONDS", "delete it then, 3600..2592000 (default: never)", 0},
    {0},
};

static const struct option file_download_options[] = {
    TENANT_OPTION,
    {"--force", NULL, "replace a file that is there already", 0},
    {0},
};

static const struct option train_options[] = {
    TENANT_OPTION,
    {"--name", "NAME", "the adapter's name", 0},
    {"--valid", "FILE", "examples to measure with, which are not learnt", 0},
    {"--model", "NAME", "go on from this adapter (default: the base)", 0},
    {"--rank", "N", "rank of the update (default: 16)", 0},
    {"--alpha", "X", "its scale is alpha / rank (default: twice the rank)", 0},
    {"--targets", "MODULES", "all, letters of qkvogud, or names with + between (default: all)", 0},
    {"--epochs", "X", "passes over the data (default: 3)", 0},
    {"--batch-size", "N", "examples of a step (default: 16, fewer of few)", 0},
    {"--learning-rate", "X", "default: 2e-4", 0},
    {"--max-steps", "N", "end after N steps", 0},
    {"--seed", "N", "the same seed gives the same adapter", 0},
    {"--config", "FILE", "JSON with more fields of the job; options come before it", 0},
    {"--no-activate", NULL, "the name goes on meaning what it means", 0},
    {"--dry-run", NULL, "say what it would take, and begin nothing", 0},
    {"--detach", NULL, "print the job's id and do not wait for it", 0},
    {"--sweep", "RANKS TARGETS", "a job for each: --sweep ranks=1,8 targets=q,qv,all", 0},
    {0},
};

static const struct option upload_options[] = {
    TENANT_OPTION,
    {"--name", "NAME", "the adapter's name (default: the directory's or file's)", 0},
    {"--proof-prompt", "TEXT", "base and adapter answer it; both answers are kept and shown", 0},
    {"--no-activate", NULL, "the name goes on meaning what it means, for a canary for example", 0},
    {"--allow-no-effect", NULL, "take it although it changes no output", 0},
    {"--no-settings", NULL,
     "leave the tokenizer's files, chat_template.jinja and generation_config.json behind", 0},
    {0},
};

static const struct option jobs_options[] = {
    TENANT_OPTION,
    {"--limit", "N", "the first N only (default: all)", 0},
    {0},
};

static const struct option jobs_events_options[] = {
    TENANT_OPTION,
    {"--limit", "N", "the N newest only (default: all)", 0},
    {"--follow", NULL, "from the first to the last, as they come, until the job is over", 0},
    {0},
};

static const struct option infer_options[] = {
    TENANT_OPTION,
    {"--adapter", "NAME", "the adapter, or NAME@VERSION-PREFIX", 0},
    {"--base", NULL, "the bare base model, whatever the tenant's default is", 0},
    {"--prompt", "TEXT", "the prompt", 0},
    {"--prompt-file", "FILE", "read the prompt from FILE, as it is; - is standard input", 0},
    {"--message", "ROLE TEXT", "a chat message: --message user \"Hello\"", 1},
    {"--input", "JSON", "numbers, for a model that is not a language model", 0},
    {"--max-tokens", "N", "stop after N tokens", 0},
    {"--temperature", "X", "0 takes the likeliest token", 0},
    {"--top-p", "X", "sample from the likeliest tokens that sum to X", 0},
    {"--top-k", "N", "sample from the N likeliest tokens; 0: all", 0},
    {"--min-p", "X", "leave out tokens below X times the likeliest", 0},
    {"--seed", "N", "the same seed gives the same text", 0},
    {"--repetition-penalty", "X", "above 1: less of what stands in prompt or answer", 0},
    {"--frequency-penalty", "X", "above 0: less of a token the more often it was answered", 0},
    {"--presence-penalty", "X", "above 0: less of a token that was answered", 0},
    {"--min-tokens", "N", "no end before N tokens", 0},
    {"--show-special", NULL, "special tokens are a part of the text", 0},
    {"--template-kwargs", "JSON", "variables of the chat template: '{\"enable_thinking\": false}'", 0},
    {"--continue", NULL, "the answer goes on where the last message ends", 0},
    {"--schema", "FILE", "the answer is JSON that is valid under the schema in FILE", 0},
    {"--grammar", "FILE", "the answer is a text of the grammar (GBNF) in FILE", 0},
    {"--regex", "PATTERN", "the answer matches the regular expression", 0},
    {"--choice", "TEXT", "the answer is one of these", 1},
    {"--bad-word", "TEXT", "never in the answer", 1},
    {"--stop", "TEXT", "end before this text", 1},
    {"--logprobs", "N", "show log-probabilities after the text", 0},
    {"--no-stream", NULL, "print the text once it is complete", 0},
    {0},
};

const struct command commands[] = {
    {"status", NULL, NULL, 0, "Show whether the daemon is ready and what it serves",
     "Needs no key; with an admin key it shows how busy the daemon is, too.\n", status_options, status_show},
    {"tenants", "list", NULL, 0, "List the tenants", NULL, list_options, tenants_list},
    {"tenants", "create", "TENANT", 1, "Create a tenant", NULL, quota_options_list, tenants_create},
    {"tenants", "show", "TENANT", 1, "Show one tenant", NULL, no_options, tenants_show},
    {"tenants", "delete", "TENANT", 1, "Delete a tenant with its keys and adapters",
     "On a terminal it asks first.\n", tenant_delete_options, tenants_delete},
    {"tenants", "quota", "TENANT", 1, "Show or set what a tenant may take",
     "Options that are not given leave their limits as they are.\n", quota_options_list, tenants_quota},
    {"tenants", "default", "TENANT", 1, "Set what requests get that name no adapter", NULL, default_options,
     tenants_default},
    {"keys", "create", "TENANT", 1, "Create an API key for a tenant; it is shown once", NULL, key_options,
     keys_create},
    {"keys", "list", "TENANT", 1, "List a tenant's keys", NULL, list_options, keys_list},
    {"keys", "rotate", "TENANT KID", 2, "Make a new key that takes the place of an old one",
     "The old key goes on for a while, so that everybody can change to the new one.\n", rotate_options,
     keys_rotate},
    {"keys", "revoke", "TENANT KID", 2, "Revoke a key", NULL, no_options, keys_revoke},
    {"adapters", "list", NULL, 0, "List a tenant's adapters", NULL, adapter_list_options, adapters_list},
    {"adapters", "show", "NAME", 1, "Show an adapter's versions",
     "NAME@VERSION shows how large the update of each module of one version is.\n", tenant_options,
     adapters_show},
    {"adapters", "upload", "DIR|FILE.gguf", 1, "Upload the adapter that PEFT saved in DIR, or a LoRA in GGUF",
     "DIR holds adapter_config.json and adapter_model.safetensors. The daemon checks every tensor and "
     "proves\n"
     "that the adapter changes the model's output before it answers.\n"
     "A row \"warning\" says what of the config hit nothing in this base and was passed over.\n",
     upload_options, adapters_upload},
    {"adapters", "activate", "NAME VERSION", 2, "Let the name mean this version from now on",
     "VERSION is the whole version or its first digits, at least 4.\n", tenant_options, versions_activate},
    {"adapters", "rollback", "NAME", 1, "Go back to the version that was active before",
     "Twice leads back to where one was.\n", tenant_options, versions_rollback},
    {"adapters", "canary", "NAME PERCENT", 2, "Let a second version serve a share of the name's requests",
     "NAME@VERSION PERCENT begins it or changes its share, NAME off ends it.\n", tenant_options,
     versions_canary},
    {"adapters", "label", "NAME KEY=VALUE", 2, "Put a label on an adapter",
     "NAME KEY=VALUE sets it, NAME KEY- takes it away.\n", tenant_options, versions_label},
    {"adapters", "note", "NAME TEXT", 2, "Write a note about an adapter", "An empty one takes it away.\n",
     tenant_options, versions_note},
    {"adapters", "expire", "NAME TIME", 2, "Let an adapter end at a time, like 2026-01-31T12:00:00Z",
     "From then on requests for it are refused. NAME never lets it go on.\n", tenant_options,
     versions_expire},
    {"adapters", "pin", "NAME", 1, "Keep what an adapter's name means in the daemon's memory",
     "Also after a restart, and whichever version is active. All that is pinned keeps half of the memory "
     "for\n"
     "adapters at most; what is beyond that comes and goes as all others.\n",
     tenant_options, versions_pin},
    {"adapters", "unpin", "NAME", 1, "Let an adapter come and go as it is used", NULL, tenant_options,
     versions_unpin},
    {"adapters", "delete", "NAME", 1, "Delete an adapter with its versions, or one of them",
     "NAME is the adapter with all versions, NAME@VERSION one of them. Requests that run finish on what "
     "they\n"
     "started with.\n",
     delete_options, versions_delete},
    {"adapters", "download", "NAME DIR", 2, "Write an adapter's files, as they were uploaded, to DIR",
     "NAME is the active version, NAME@VERSION another one. DIR is made where it is missing. Each file is "
     "compared\n"
     "with its SHA-256, and both are put in their places or neither.\n",
     download_options, versions_download},
    {"files", "list", NULL, 0, "List the files that a tenant keeps to train with, newest first", NULL,
     file_list_options, files_list},
    {"files", "show", "FILE", 1, "Show one of them", "FILE is its id, file-...\n", tenant_options,
     files_show},
    {"files", "upload", "DATA.jsonl", 1, "Upload a file to train with",
     "One JSON object on each line. The daemon checks every line before it answers; the first that is no\n"
     "example is named, and nothing is kept then.\n",
     file_upload_options, files_upload},
    {"files", "download", "FILE PATH", 2, "Write a file, as it was uploaded, to PATH",
     "PATH - is standard output. It is compared with its SHA-256.\n", file_download_options, files_download},
    {"files", "delete", "FILE", 1, "Delete a file, from the daemon's disk, too", NULL, tenant_options,
     files_delete},
    {"jobs", "list", NULL, 0, "List a tenant's training jobs, newest first", NULL, jobs_options, jobs_list},
    {"jobs", "show", "JOB", 1, "Show how far a job is, and what went wrong", NULL, tenant_options, jobs_show},
    {"jobs", "events", "JOB", 1, "Show what a job said, newest first", NULL, jobs_events_options,
     jobs_events},
    {"jobs", "checkpoints", "JOB", 1, "List the versions that a job left on its way",
     "Each is itself usable as a model.\n", jobs_options, jobs_checkpoints},
    {"jobs", "pause", "JOB", 1, "Let a job wait; its state stays on the daemon's disk", NULL, tenant_options,
     jobs_pause},
    {"jobs", "resume", "JOB", 1, "Let a paused job go on where it was", NULL, tenant_options, jobs_resume},
    {"jobs", "cancel", "JOB", 1, "End a job; it leaves no version", NULL, tenant_options, jobs_cancel},
    {"train", NULL, "DATA.jsonl", 1, "Train an adapter with the examples in DATA.jsonl",
     "Uploads what the daemon has not got yet, starts a job, shows how the loss goes down, and with --valid\n"
     "at the end what the base and the new adapter answer. Ctrl-C leaves the job to itself.\n"
     "--sweep prints a table of ranks and modules; each adapter is called NAME-TARGETS-rRANK.\n",
     train_options, train_run},
    {"usage", NULL, NULL, 0, "Show requests and tokens by day, tenant and adapter version", NULL,
     usage_options, usage_list},
    {"audit", NULL, NULL, 0, "Show who changed what when, oldest first", NULL, audit_options, audit_list},
    {"backup", NULL, "DIR", 1, "Copy everything that the daemon stores to a new directory DIR",
     "Consistent while the daemon goes on serving and changing; every file is checked and synced. DIR is "
     "there when "
     "all\n"
     "of it is. It holds neither the admin key nor the base model, and the hashes of API keys only.\n",
     no_options, backup_take},
    {"restore", NULL, "BACKUP DATA", 2, "Make a data directory DATA of a backup; asks no daemon",
     "DATA must not exist or be empty. Every file is checked before DATA is complete. Start adapterd with "
     "--data DATA "
     "then.\n",
     no_options, backup_restore},
    {"fsck", NULL, NULL, 0, "Check everything that the daemon stores against its checksums",
     "Versions whose files are damaged are marked broken. Status 1 when anything is wrong.\n", no_options,
     fsck_check},
    {"infer", NULL, NULL, 0, "Run one request and print its text as it comes",
     "Without --prompt, --prompt-file, --message or --input, standard input is the prompt, as it is.\n",
     infer_options, infer_run},
    {0},
};
