#include "cmd/cmd.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

const struct command commands[] = {
    {"up", "make the cluster what cluster.yml says about encryption at rest", "", REACHES_CLUSTER,
     "services.kube-api.secrets_encryption_config: enabled, disabled, another provider, other\n"
     "resources, a custom_config: from any configuration to any other. Every kube-apiserver first\n"
     "learns to read what is new, then writes it; what is stored is rewritten and proved in etcd,\n"
     "and only then the old keys are dropped. An open transition is finished first, and no more "
     "is\n"
     "done then.\n"
     "\n"
     "--initial, for provisioners: before the first kube-apiserver is started. Makes the key, puts "
     "the\n"
     "configuration on the nodes and prints, as JSON, what to start each kube-apiserver with; when "
     "they\n"
     "run, `up` finishes. A node that joins later: `up` puts the configuration there, and prints "
     "the\n"
     "same for it.",
     cmd_up},
    {"rotate-key", "a fresh key, the same provider", "", REACHES_CLUSTER,
     "Three rollouts (two where there is one apiserver): every kube-apiserver reads the fresh key, "
     "then\n"
     "writes with it; all secrets are rewritten and proved in etcd; then the old key is dropped "
     "from\n"
     "the nodes. It stays in the state file's history, for backups. Under a custom_config the "
     "fresh\n"
     "key goes into its structure, and --write-config writes it into cluster.yml too. With a KMS:\n"
     "rotate the remote key there first; everything is then encrypted anew, by it.",
     cmd_rotate_key},
    {"prepare", "a rotation a stage at a time: the fresh key is there to read with", "",
     REACHES_CLUSTER,
     "The first of three stages, as `rke2 secrets-encrypt` has them: prepare, rotate, reencrypt. "
     "Every\n"
     "kube-apiserver is restarted, one after the other, and shown to read the fresh key. With\n"
     "--no-restart the file is put on all nodes, and the restarts are yours; `status` tells which "
     "are\n"
     "left, and the next stage is refused before the last is done. A rotation that `rotate-key` "
     "left\n"
     "open is gone on with, and `rotate-key` and `resume` finish one that was begun in stages.",
     cmd_prepare},
    {"rotate", "… the fresh key writes", "", REACHES_CLUSTER,
     "The second stage: every kube-apiserver writes with the fresh key, and still reads the old "
     "one.",
     cmd_rotate},
    {"reencrypt", "… everything is rewritten and proved, the old key dropped", "", REACHES_CLUSTER,
     "The third stage. With --namespace a part is rewritten, to spread a large cluster over "
     "several\n"
     "sittings; without it all that is left is, proved in etcd, and only then the old key is "
     "dropped\n"
     "from the nodes. --detach goes on in the background, when the checks are done.",
     cmd_reencrypt},
    {"restart", "roll the apiservers that don't yet run the file on their node", "",
     REACHES_CLUSTER,
     "After --no-restart: one after the other, each shown to run the file before the next. After "
     "the\n"
     "last stage it also closes the rotation, where the restarts were made by hand.",
     cmd_restart},
    {"resume", "go on with an interrupted transition", "", REACHES_CLUSTER,
     "Looks at the nodes, the apiservers and the journal, and goes on from there. `up` and "
     "`rotate-key`\n"
     "do the same where a transition is open.",
     cmd_resume},
    {"abort", "go back to the configuration before the interrupted transition", "", REACHES_CLUSTER,
     "Until narrowing has begun. Where the new key has written already, every kube-apiserver is\n"
     "brought to write the old form again, what the new key wrote is rewritten, that is proved in "
     "etcd,\n"
     "and only then the new key is dropped from the nodes; it stays in the state file's history.",
     cmd_abort},
    {"status", "enabled or not, stage, what each server runs, the keys", "", REACHES_CLUSTER,
     "RKE2's lines, then the keys (what is stored under each, how old), what lies on each node and "
     "what\n"
     "its kube-apiserver runs, an open transition and how far it is. Works with nodes down, "
     "without "
     "etcd,\n"
     "without a state file, and says what it could not look at. Exit status 5 where something is "
     "wrong:\n"
     "servers that differ, a node or an apiserver down, something stored that can't be read. An "
     "open\n"
     "transition alone is nothing wrong. Changes nothing, takes no lock.",
     cmd_status},
    {"plan", "what `up` (or `rotate-key`) would do, step by step", "[up|rotate-key]",
     REACHES_CLUSTER,
     "Looks and asks as that command does before it begins, and is refused where it would be. Each "
     "step:\n"
     "which nodes get a file, which apiservers restart, what is rewritten and proved, which keys "
     "come and\n"
     "go. Where a transition is open: what `resume` would do, and what `abort` would. Changes "
     "nothing: no\n"
     "node, no lock, no state file, no key is made.",
     cmd_plan},
    {"doctor", "what is wrong, and the commands that mend it", "", REACHES_CLUSTER,
     "Looks at state file, nodes, apiservers, etcd and the lock, as far as they can be reached: "
     "what is\n"
     "wrong, what it means, what to do. Exit status 5 where anything is. Changes nothing in the\n"
     "cluster. Rebuilds a lost state file from what lies on the nodes (--write-state); writes the\n"
     "configuration that reads everything where nodes differ (--write-union).",
     cmd_doctor},
    {"lint", "check cluster.yml, or an EncryptionConfiguration, without any cluster", "[FILE]",
     REACHES_FILES,
     "Reads what the file says of encryption as kube-apiserver would, and stricter: every fault "
     "with its\n"
     "line, its field and what to do about it. Of a cluster.yml the names of keys are held against "
     "the\n"
     "key history in the state file too. Exit status 5 where there is an error, 0 where there are\n"
     "warnings alone, 4 where the file can't be read. No key is ever printed.",
     cmd_lint},
    {"version", "print the version", "", REACHES_NOTHING, "", cmd_version},
    {"help", "help on a command", "[COMMAND]", REACHES_NOTHING, "", cmd_help},
    {0},
};

const struct command *command_find(const char *name)
{
    for (const struct command *c = commands; c->name; c++) {
        if (strcmp(c->name, name) == 0)
            return c;
    }
    return NULL;
}

/* Where one of 0 to 2 is closed, the next file that is opened would become it: the lock, a key's
 * file. */
static void fill_descriptors(void)
{
    int fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= STDERR_FILENO)
        fd = dup(fd);
    if (fd > STDERR_FILENO)
        close(fd);
}

int main(int argc, char **argv)
{
    struct encrypt_error err CLEANUP(encrypt_error_clear) = {0};
    struct command_line l = {.program = program_name(argv[0]),
                             .options = {.event = progress_event,
                                         .ask = ask_secret,
                                         .confirm = ask_yes_or_no,
                                         .stop = signals_stop,
                                         .ctx = &l}};
    fill_descriptors();
    if (argc < 2) {
        help_all(&l, stderr);
        return ENCRYPT_USAGE;
    }
    const char *name = argv[1];
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)
        name = "help";
    if (strcmp(name, "--version") == 0)
        name = "version";
    const struct command *c = command_find(name);
    if (!c) {
        fprintf(stderr, "encrypt: no command `%s`; `%s help` lists them\n", name, l.program);
        return ENCRYPT_USAGE;
    }
    _Bool help = 0;
    if (!options_read(c, argc - 1, argv + 1, &l, &help))
        return ENCRYPT_USAGE;
    if (help) {
        help_command(&l, c, stdout);
        return ENCRYPT_OK;
    }
    if (encrypt_init(0, &err) < 0)
        return report_error(&l, &err);
    signals_install();
    return c->run(&l);
}
