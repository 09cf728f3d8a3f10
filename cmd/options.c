#include "cmd/cmd.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

/* One table drives parsing and help. */
static const struct option_line {
    const char *name;
    char letter;                              /* 0: none */
    const char *argument;                     /* NULL: none */
    enum { CLUSTER, FILES, EVERYWHERE } for_; /* for which commands */
    const char *line;
} lines[] = {
    {"config", 'c', "FILE", FILES, "cluster file (cluster.yml, or $RKE_CONFIG)"},
    {"state", 0, "FILE", FILES, "state file (beside the cluster file, .rkestate)"},
    {"kubeconfig", 0, "FILE", CLUSTER, "administrator's credentials, instead of the state file's"},
    {"ssh-agent-auth", 0, NULL, CLUSTER, "use the SSH agent at SSH_AUTH_SOCK"},
    {"ssh-passphrase-file", 0, "FILE", CLUSTER, "passphrase of SSH keys: the first line of FILE"},
    {"known-hosts", 0, "FILE", CLUSTER, "known host keys (~/.ssh/known_hosts)"},
    {"accept-new-host-keys", 0, NULL, CLUSTER, "add unknown host keys; changed ones are refused"},
    {"ignore-docker-version", 0, NULL, CLUSTER, "taken for compatibility with RKE"},
    {"timeout", 0, "DURATION", CLUSTER, "how long one apiserver may take to be ready (5m)"},
    {"concurrency", 0, "N", CLUSTER, "objects being rewritten at once (64)"},
    {"take-over", 0, NULL, CLUSTER, "take the cluster's lock from another operator"},
    {"forget-node", 0, "ADDRESS[,ADDRESS]", CLUSTER,
     "a control-plane node that is gone for good: go on without it"},
    {"no-restart", 0, NULL, CLUSTER, "put the files, and leave the restarts to the operator"},
    {"snapshot", 0, NULL, CLUSTER, "rke2, k3s: take a snapshot of etcd first, don't ask"},
    {"no-snapshot", 0, NULL, CLUSTER, "rke2, k3s: take none, don't ask"},
    {"namespace", 0, "NAME[,NAME]", CLUSTER, "rewrite what is in these alone; the old key stays"},
    {"detach", 0, NULL, CLUSTER, "rewrite in the background; `status` tells how far it is"},
    {"write-config", 0, NULL, CLUSTER, "after a rotation: write the fresh key into custom_config"},
    {"initial", 0, NULL, CLUSTER, "no kube-apiserver is there yet: tell what to start them with"},
    {"write-state", 0, NULL, CLUSTER, "write the state file anew, where there is none"},
    {"from", 0, "FILE", CLUSTER, "for --write-state: an older state file, for RKE's own members"},
    {"bare", 0, NULL, CLUSTER, "for --write-state: also without RKE's own members"},
    {"write-union", 0, "FILE", CLUSTER, "write the configuration that reads everything"},
    {"output", 'o', "text|json", EVERYWHERE, "what goes to standard output"},
    {"quiet", 'q', NULL, EVERYWHERE, "less on standard error"},
    {"debug", 'd', NULL, EVERYWHERE, "more on standard error"},
    {"yes", 'y', NULL, EVERYWHERE, "don't ask"},
    {"help", 'h', NULL, EVERYWHERE, "this help"},
};

/* Options of some commands alone; their names, with spaces between. */
static const struct {
    const char *option, *commands;
} own[] = {{"no-restart", "prepare rotate reencrypt"},
           {"snapshot", "up rotate-key prepare"},
           {"no-snapshot", "up rotate-key prepare"},
           {"namespace", "reencrypt"},
           {"detach", "reencrypt"},
           {"write-config", "up rotate-key resume reencrypt restart plan"},
           {"initial", "up"},
           {"write-state", "doctor"},
           {"from", "doctor"},
           {"bare", "doctor"},
           {"write-union", "doctor"}};

static _Bool reaches(const struct option_line *o, const struct command *c)
{
    return o->for_ == EVERYWHERE || c->reach == REACHES_CLUSTER ||
           (o->for_ == FILES && c->reach == REACHES_FILES);
}

static _Bool is_anothers(const struct option_line *o, const struct command *c)
{
    for (size_t i = 0; i < ARRAY_LEN(own); i++) {
        if (strcmp(own[i].option, o->name) != 0)
            continue;
        size_t len = strlen(c->name);
        for (const char *at = own[i].commands; (at = strstr(at, c->name)); at += len)
            if ((at == own[i].commands || at[-1] == ' ') && (at[len] == ' ' || !at[len]))
                return 0;
        return 1;
    }
    return 0;
}

void options_print(const struct command *c, FILE *to)
{
    fprintf(to, "options:\n");
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        const struct option_line *o = &lines[i];
        if (!reaches(o, c) || is_anothers(o, c))
            continue;
        char name[64];
        snprintf(name, sizeof(name), "--%s%s%s", o->name, o->argument ? " " : "",
                 o->argument ? o->argument : "");
        char letter[4] = {'-', o->letter, ',', '\0'};
        fprintf(to, "  %s %-27s %s\n", o->letter ? letter : "   ", name, o->line);
    }
}

/* "90", "90s", "5m", "1h", "1h30m", "500ms"; false where it is none. */
static _Bool read_duration(const char *text, int64_t *ms)
{
    static const struct {
        const char *unit;
        int64_t ms;
    } units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}};
    int64_t sum = 0;
    const char *p = text;
    if (!*p)
        return 0;
    while (*p) {
        char *end = NULL;
        errno = 0;
        long long n = strtoll(p, &end, 10);
        if (end == p || errno || n < 0 || n > 1000000)
            return 0;
        size_t len = strspn(end, "abcdefghijklmnopqrstuvwxyz");
        int64_t unit = len == 0 && p == text && !*end ? 1000 : 0;
        for (size_t i = 0; i < ARRAY_LEN(units); i++) {
            if (len == strlen(units[i].unit) && strncmp(end, units[i].unit, len) == 0)
                unit = units[i].ms;
        }
        if (!unit)
            return 0;
        sum += n * unit;
        p = end + len;
    }
    *ms = sum;
    return sum > 0;
}

static _Bool bad(const struct command *c, const char *option, const char *value, const char *wants)
{
    fprintf(stderr, "encrypt %s: --%s %s: %s\n", c->name, option, value, wants);
    return 0;
}

static _Bool take(const struct command *c, const char *name, const char *value,
                  struct command_line *l, _Bool *help)
{
    struct encrypt_options *o = &l->options;
    if (strcmp(name, "config") == 0)
        o->config = value;
    else if (strcmp(name, "state") == 0)
        o->state = value;
    else if (strcmp(name, "kubeconfig") == 0)
        o->kubeconfig = value;
    else if (strcmp(name, "ssh-agent-auth") == 0)
        o->ssh_agent_auth = 1;
    else if (strcmp(name, "ssh-passphrase-file") == 0)
        o->passphrase_file = value;
    else if (strcmp(name, "known-hosts") == 0)
        o->known_hosts = value;
    else if (strcmp(name, "accept-new-host-keys") == 0)
        o->accept_new_host_keys = 1;
    else if (strcmp(name, "take-over") == 0)
        o->take_over = 1;
    else if (strcmp(name, "forget-node") == 0)
        o->forget_node = value;
    else if (strcmp(name, "no-restart") == 0)
        o->no_restart = 1;
    else if (strcmp(name, "snapshot") == 0)
        o->snapshot = 1;
    else if (strcmp(name, "no-snapshot") == 0)
        o->snapshot = -1;
    else if (strcmp(name, "detach") == 0)
        l->detach = 1;
    else if (strcmp(name, "namespace") == 0) {
        if (o->namespaces || !*value ||
            value[strspn(value, "abcdefghijklmnopqrstuvwxyz0123456789-,")])
            return bad(c, name, value, "wants names of namespaces, with commas between, once");
        o->namespaces = value;
    } else if (strcmp(name, "write-config") == 0)
        o->write_config = 1;
    else if (strcmp(name, "initial") == 0)
        l->initial = 1;
    else if (strcmp(name, "write-state") == 0)
        l->doctor.write_state = 1;
    else if (strcmp(name, "from") == 0)
        l->doctor.from = value;
    else if (strcmp(name, "bare") == 0)
        l->doctor.bare = 1;
    else if (strcmp(name, "write-union") == 0)
        l->doctor.write_union = value;
    else if (strcmp(name, "timeout") == 0)
        return read_duration(value, &o->timeout_ms) ||
               bad(c, name, value, "wants a duration such as 90s or 5m");
    else if (strcmp(name, "concurrency") == 0) {
        char *end = NULL;
        long n = strtol(value, &end, 10);
        if (*end || n < 1 || n > 1000)
            return bad(c, name, value, "wants a number from 1 to 1000");
        o->concurrency = (size_t)n;
    } else if (strcmp(name, "output") == 0) {
        if (strcmp(value, "text") != 0 && strcmp(value, "json") != 0)
            return bad(c, name, value, "wants text or json");
        l->output = strcmp(value, "json") == 0 ? OUTPUT_JSON : OUTPUT_TEXT;
        l->output_given = 1;
    } else if (strcmp(name, "quiet") == 0)
        l->quiet = 1;
    else if (strcmp(name, "debug") == 0)
        l->debug = 1;
    else if (strcmp(name, "yes") == 0)
        l->yes = 1;
    else if (strcmp(name, "help") == 0)
        *help = 1;
    return 1;
}

_Bool options_read(const struct command *c, int argc, char **argv, struct command_line *l,
                   _Bool *help)
{
    struct option longs[ARRAY_LEN(lines) + 1] = {0};
    char shorts[3 * ARRAY_LEN(lines) + 1] = "";
    size_t n = 0;
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        longs[i] = (struct option){.name = lines[i].name,
                                   .has_arg = lines[i].argument ? required_argument : no_argument,
                                   .val = (int)(256 + i)};
        if (lines[i].letter) {
            shorts[n++] = lines[i].letter;
            if (lines[i].argument)
                shorts[n++] = ':';
        }
    }
    const char *config = getenv("RKE_CONFIG");
    l->options.config = config && *config ? config : "cluster.yml";
    for (int got; (got = getopt_long(argc, argv, shorts, longs, NULL)) != -1;) {
        const struct option_line *o = NULL;
        for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
            if (got == (int)(256 + i) || (lines[i].letter && got == lines[i].letter))
                o = &lines[i];
        }
        if (!o) {
            fprintf(stderr, "try `%s %s --help`\n", l->program, c->name);
            return 0;
        }
        if (!reaches(o, c) || is_anothers(o, c)) {
            fprintf(stderr, "encrypt %s: takes no --%s\n", c->name, o->name);
            return 0;
        }
        if (!take(c, o->name, optarg, l, help))
            return 0;
    }
    l->arguments = argv + optind;
    l->argument_count = argc - optind;
    if (l->argument_count && !c->arguments[0]) {
        fprintf(stderr, "encrypt %s: unexpected argument `%s`\n", c->name, l->arguments[0]);
        return 0;
    }
    return 1;
}
