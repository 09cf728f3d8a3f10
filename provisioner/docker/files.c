#include "provisioner/docker/files.h"

#include "provisioner/docker/bare.h"
#include "provisioner/docker/helper.h"
#include "provisioner/docker/settings.h"
#include "provisioner/docker/tar.h"

#include <inttypes.h>
#include <openssl/crypto.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

enum { LEFT_HELPER_MS = 10000, MAX_NAME = 255 };

#define LABEL DOCKER_HELPER_LABEL
#define LABEL_FOLDER "io.encrypt.folder"
#define LABEL_NAME "io.encrypt.name"

/* $1 the folder; then for each file, the one beside first: its name, its temporary name, its size.
 * Temporary names begin with the name of the last one. Old versions of sync(1) take no file: they
 * sync everything. */
static const char put_script[] =
    "set -eu\n"
    "PATH=${PATH:-}:/usr/sbin:/usr/bin:/sbin:/bin\n"
    "cd \"$1\"\n"
    "shift\n"
    "check() {\n"
    "  [ \"$(wc -c <\"./$2\")\" -eq \"$3\" ] || { echo 'the file did not arrive whole'; exit 1; }\n"
    "  if [ -d \"./$1\" ]; then echo 'there is a folder of that name'; exit 1; fi\n"
    "  chown 0:0 \"./$2\"\n"
    "  chmod 0600 \"./$2\"\n"
    "  sync \"./$2\" 2>/dev/null || sync\n"
    "}\n"
    "check \"$1\" \"$2\" \"$3\"\n"
    "[ $# -lt 6 ] || check \"$4\" \"$5\" \"$6\"\n"
    "mv -f \"./$2\" \"./$1\"\n"
    "[ $# -lt 6 ] || { shift 3; sync . 2>/dev/null || sync; mv -f \"./$2\" \"./$1\"; }\n"
    "rm -f ./.\"$1\".encrypt-????????????????\n"
    "sync . 2>/dev/null || sync\n";

enum { IS_THERE = 20, OTHERS_WRITE = 21 };

/* $1 the folder; $2 to $4: name, temporary name, size. A hard link is made where nothing is, or not
 * at all. */
static const char claim_script[] =
    "set -eu\n"
    "PATH=${PATH:-}:/usr/sbin:/usr/bin:/sbin:/bin\n"
    "cd \"$1\"\n"
    "[ \"$(wc -c <\"./$3\")\" -eq \"$4\" ] || { echo 'the file did not arrive whole'; exit 1; }\n"
    "chown 0:0 \"./$3\"\n"
    "chmod 0600 \"./$3\"\n"
    "sync \"./$3\" 2>/dev/null || sync\n"
    "code=0\n"
    "if [ -e \"./$2\" ] || [ -L \"./$2\" ]; then code=20\n"
    "elif ! ln \"./$3\" \"./$2\"; then\n"
    "  code=1\n"
    "  [ ! -e \"./$2\" ] || code=20\n"
    "fi\n"
    "rm -f \"./$3\"\n"
    "sync . 2>/dev/null || sync\n"
    "exit $code\n";

/* $1 the folder. */
static const char folder_script[] = "set -eu\n"
                                    "PATH=${PATH:-}:/usr/sbin:/usr/bin:/sbin:/bin\n"
                                    "umask 022\n"
                                    "mkdir -p \"$1\"\n"
                                    "set -- \"$1\" $(ls -ldn \"$1\")\n"
                                    "[ \"$4\" = 0 ] || exit 21\n"
                                    "case $2 in d????[-]??[-]*) ;; *) exit 21 ;; esac\n"
                                    "sync\n";

/* $1 the folder, $2 the file's name, $3 `file` where the file itself is to go too. */
static const char remove_script[] = "set -eu\n"
                                    "PATH=${PATH:-}:/usr/sbin:/usr/bin:/sbin:/bin\n"
                                    "[ -d \"$1\" ] || exit 0\n"
                                    "cd \"$1\"\n"
                                    "rm -f ./.\"$2\".encrypt-????????????????\n"
                                    "[ \"$3\" != file ] || rm -f \"./$2\"\n"
                                    "sync . 2>/dev/null || sync\n";

struct place {
    char *folder;
    char *name;
};

static void place_free(struct place *p)
{
    mem_free(p->folder);
    mem_free(p->name);
}

static int split(const char *path, struct place *out, struct error *err)
{
    const char *slash = strrchr(path, '/');
    if (path[0] != '/' || !slash[1] || strlen(slash + 1) > MAX_NAME || str_eq(slash, "/..") ||
        str_eq(slash, "/."))
        return error_set(err, RESULT_REFUSED, "%s: not the absolute path of a file", path);
    out->folder = slash == path ? mem_strdup("/") : mem_strndup(path, (size_t)(slash - path));
    out->name = mem_strdup(slash + 1);
    return 0;
}

/* What the helper may not do but the apiserver may is left as it is for the apiserver; SELinux
 * labels of the mount must stay as they are (new files get the folder's). */
static json_t *security_options(const json_t *host)
{
    json_t *out = json_pack("[s]", "label=disable");
    size_t i = 0;
    json_t *item = NULL;
    json_array_foreach (json_object_get(host, "SecurityOpt"), i, item) {
        const char *option = json_string_value(item);
        if (option && !str_starts(option, "label"))
            json_array_append(out, item);
    }
    return out;
}

int docker_helper_create(const struct http_server *d, const json_t *base, json_t *labels,
                         json_t *mounts, json_t *command, char **id, struct error *err)
{
    json_auto_t *owned_labels = labels;
    json_auto_t *owned_mounts = mounts;
    json_auto_t *owned_command = command;
    static const char *const copied[] = {"UsernsMode", "Runtime", "CgroupParent"};
    uint64_t random = 0;
    if (getrandom(&random, sizeof(random), 0) != (ssize_t)sizeof(random))
        return error_set(err, RESULT_FAILED, "no random numbers: %m");
    char *name CLEANUP(cleanup_mem) = mem_printf(DOCKER_HELPER_PREFIX "%016" PRIx64, random);
    const json_t *from = json_object_get(base, "HostConfig");
    json_auto_t *settings = json_pack(
        "{s:O, s:[s], s:O, s:s, s:s, s:O, s:{s:s, s:b, s:b, s:{s:s}, s:o, s:[s], s:[s,s,s]}}",
        "Image", json_object_get(base, "Image"), "Entrypoint", "/bin/sh", "Cmd", owned_command,
        "User", "0:0", "WorkingDir", "/", "Labels", owned_labels, "HostConfig", "NetworkMode",
        "none", "ReadonlyRootfs", 1, "AutoRemove", 0, "RestartPolicy", "Name", "no", "SecurityOpt",
        security_options(from), "CapDrop", "ALL", "CapAdd", "CHOWN", "DAC_OVERRIDE", "FOWNER");
    if (!settings)
        return error_set(err, RESULT_FAILED, "%s: the container kube-apiserver shows no image",
                         d->what);
    for (size_t i = 0; i < ARRAY_LEN(copied); i++) {
        json_t *value = json_object_get(from, copied[i]);
        if (value)
            json_object_set(json_object_get(settings, "HostConfig"), copied[i], value);
    }
    json_object_update(json_object_get(settings, "HostConfig"), owned_mounts);
    json_auto_t *userland = docker_bare_userland(base);
    if (json_array_size(userland) > 0)
        json_object_set_new(json_object_get(settings, "Labels"), DOCKER_BARE_LABEL,
                            json_string("1"));
    json_t *more = json_object_get(json_object_get(settings, "HostConfig"), "Mounts");
    if (more)
        json_array_extend(more, userland);
    else if (json_array_size(userland) > 0)
        json_object_set(json_object_get(settings, "HostConfig"), "Mounts", userland);
    return docker_create(d, name, settings, id, err);
}

/* One for the files of a folder. bind: where that is. */
static int create_file_helper(const struct http_server *d, const json_t *base, const char *bind,
                              const struct place *at, json_t *command, char **id, struct error *err)
{
    json_t *labels =
        json_pack("{s:s, s:s, s:s}", LABEL, "1", LABEL_FOLDER, at->folder, LABEL_NAME, at->name);
    return docker_helper_create(d, base, labels, json_pack("{s:[s]}", "Binds", bind), command, id,
                                err);
}

/* Starts it, waits for its end, and tells what it said where that wasn't good. `fine`: an exit code
 * that is an answer too; gives 1 then. */
static int run_helper_for(const struct http_server *d, const char *id, long fine, struct error *err)
{
    long code = -1;
    if (docker_start(d, id, err) < 0 || docker_wait(d, id, DOCKER_HELPER_MS, &code, err) < 0)
        return -1;
    if (code == 0 || code == fine)
        return code != 0;
    struct error ignored CLEANUP(error_clear) = {0};
    struct buf log CLEANUP(buf_free) = {0};
    if (docker_logs(d, id, false, 5, &log, &ignored) < 0)
        buf_reset(&log);
    while (log.len && log.data[log.len - 1] == '\n')
        log.data[--log.len] = '\0';
    for (size_t i = 0; i < log.len; i++) {
        if (log.data[i] == '\n')
            log.data[i] = ' ';
    }
    return error_set(err, RESULT_FAILED, "%s: the helper container ended with %ld%s%s", d->what,
                     code, log.len ? ": " : "", buf_str(&log));
}

static int run_helper(const struct http_server *d, const char *id, struct error *err)
{
    return run_helper_for(d, id, 0, err);
}

/* Removes temporary files of that name, and the file itself where asked. */
static int run_removal(const struct http_server *d, const json_t *base, const char *bind,
                       const struct place *at, bool file, struct error *err)
{
    char *id CLEANUP(cleanup_mem) = NULL;
    json_t *command = json_pack("[s,s,s,s,s,s]", "-c", remove_script, "sh", at->folder, at->name,
                                file ? "file" : "left");
    if (create_file_helper(d, base, bind, at, command, &id, err) < 0)
        return -1;
    int rc = run_helper(d, id, err);
    /* (Also one that failed: who asked for it knows what is left, or the helper whose it is does.)
     */
    struct error second CLEANUP(error_clear) = {0};
    if (docker_remove(d, id, true, true, &second) < 0 && rc == 0)
        return error_move(err, &second);
    return rc;
}

static bool is_helper(const json_t *item)
{
    const json_t *labels = json_object_get(item, "Labels");
    return str_eq(json_string_value(json_object_get(labels, LABEL)), "1");
}

int docker_helpers_wait(const struct http_server *d, const json_t *list, struct error *err)
{
    size_t i = 0;
    const json_t *item = NULL;
    json_array_foreach (list, i, item) {
        const char *id = json_string_value(json_object_get(item, "Id"));
        const char *state = json_string_value(json_object_get(item, "State"));
        long code = 0;
        if (!is_helper(item) || !id || !str_eq(state, "running"))
            continue;
        struct error e CLEANUP(error_clear) = {0};
        /* One that hangs, or that its own run has just removed, is no reason to fail. */
        if (docker_wait(d, id, LEFT_HELPER_MS, &code, &e) < 0 && e.result != RESULT_FAILED)
            return error_move(err, &e);
    }
    return 0;
}

/* What it left is removed by one more of its own kind. */
static int clear_one(const struct http_server *d, const json_t *item, struct error *err)
{
    const char *id = json_string_value(json_object_get(item, "Id"));
    json_auto_t *left = NULL;
    if (!id || docker_inspect(d, id, &left, err) < 0)
        return id ? -1 : 0;
    if (!left)
        return 0;
    const json_t *labels = json_object_get(json_object_get(left, "Config"), "Labels");
    const json_t *binds = json_object_get(json_object_get(left, "HostConfig"), "Binds");
    const char *bind = json_string_value(json_array_get(binds, 0));
    const char *folder = json_string_value(json_object_get(labels, LABEL_FOLDER));
    const char *name = json_string_value(json_object_get(labels, LABEL_NAME));
    struct place at CLEANUP(place_free) = {mem_strdup(folder), mem_strdup(name)};
    if (docker_stop(d, id, 0, err) < 0)
        return -1;
    if (bind && folder && name && run_removal(d, left, bind, &at, false, err) < 0)
        return -1;
    return docker_remove(d, id, true, true, err);
}

/* All but the one of that id, which is the caller's own. */
static int clear_but(const struct http_server *d, const char *own, struct error *err)
{
    json_auto_t *list = NULL;
    if (docker_list(d, DOCKER_HELPER_PREFIX, &list, err) < 0 ||
        docker_helpers_wait(d, list, err) < 0)
        return -1;
    size_t i = 0;
    const json_t *item = NULL;
    json_array_foreach (list, i, item) {
        const char *id = json_string_value(json_object_get(item, "Id"));
        if (is_helper(item) && !str_eq(id, own) && clear_one(d, item, err) < 0)
            return error_wrap(err, "clearing what an interrupted run left");
    }
    return own ? 0 : docker_bare_clear(d, err);
}

int docker_helpers_clear(const struct http_server *d, struct error *err)
{
    return clear_but(d, NULL, err);
}

int docker_file_read(const struct http_server *d, const char *container, const char *path,
                     struct buf *out, bool *missing, struct error *err)
{
    char *at CLEANUP(cleanup_mem) = mem_strdup(path);
    bool found = false;
    if (missing)
        *missing = false;
    for (int links = 0; links < 2; links++) {
        struct buf tar CLEANUP(buf_free) = {0};
        char *link CLEANUP(cleanup_mem) = NULL;
        if (docker_get_archive(d, container, at, &tar, &found, err) < 0)
            return -1;
        if (!found && missing) {
            *missing = true;
            return 0;
        }
        if (!found)
            return error_set(err, RESULT_FAILED, "%s: %s: there is no such file", d->what, path);
        if (tar_read(&tar, out, &link, err) < 0)
            return error_wrap(err, "%s: %s", d->what, path);
        if (!link)
            return 0;
        struct place place CLEANUP(place_free) = {0};
        if (split(at, &place, err) < 0)
            return -1;
        char *next = link[0] == '/' ? mem_strdup(link) : mem_printf("%s/%s", place.folder, link);
        mem_free(at);
        at = next;
    }
    return error_set(err, RESULT_REFUSED, "%s: %s: a symbolic link to a symbolic link", d->what,
                     path);
}

int docker_file_changed_at(const struct http_server *d, const char *container, const char *path,
                           long long *out, struct error *err)
{
    struct buf tar CLEANUP(buf_free) = {0};
    bool found = false;
    *out = 0;
    if (docker_get_archive(d, container, path, &tar, &found, err) < 0)
        return -1;
    return found ? tar_changed_at(&tar, out, err) : 0;
}

/* What was written is what is there. */
static int check_file(const struct http_server *d, const char *container,
                      const struct node_text *text, struct error *err)
{
    struct buf is CLEANUP(buf_free) = {0};
    if (docker_file_read(d, container, text->path, &is, NULL, err) < 0)
        return error_wrap(err, "reading it back");
    if (is.len != text->len || CRYPTO_memcmp(buf_str(&is), text->data, text->len) != 0)
        return error_set(err, RESULT_FAILED, "%s: reading it back: not what was written", d->what);
    return 0;
}

/* One to be put: its name in the folder, and its tar under a temporary name. */
struct parcel {
    char *name, *temporary, *size;
    struct buf tar;
};

static void parcel_free(struct parcel *p)
{
    mem_free(p->name);
    mem_free(p->temporary);
    mem_free(p->size);
    buf_free(&p->tar);
}

/* `text` NULL: none. */
static int pack(const struct node_text *text, const struct place *at, struct parcel *out,
                struct error *err)
{
    struct place own CLEANUP(place_free) = {0};
    uint64_t random = 0;
    if (!text)
        return 0;
    if (split(text->path, &own, err) < 0)
        return -1;
    if (!str_eq(own.folder, at->folder))
        return error_set(err, RESULT_REFUSED, "%s: not in %s", text->path, at->folder);
    if (getrandom(&random, sizeof(random), 0) != (ssize_t)sizeof(random))
        return error_set(err, RESULT_FAILED, "no random numbers: %m");
    out->name = STEAL(own.name);
    out->temporary = mem_printf(".%s.encrypt-%016" PRIx64, at->name, random);
    out->size = mem_printf("%zu", text->len);
    return tar_write(&out->tar, out->temporary, text->data, text->len, time(NULL), err);
}

static json_t *put_command(const struct place *at, const struct parcel *file,
                           const struct parcel *beside)
{
    json_t *command = json_pack("[s,s,s,s]", "-c", put_script, "sh", at->folder);
    const struct parcel *const both[] = {beside, file};
    for (size_t i = 0; i < ARRAY_LEN(both); i++) {
        if (!both[i]->name)
            continue;
        json_array_append_new(command, json_string(both[i]->name));
        json_array_append_new(command, json_string(both[i]->temporary));
        json_array_append_new(command, json_string(both[i]->size));
    }
    return command;
}

static int put_by_helper(const struct http_server *d, const json_t *base, const char *bind,
                         const struct place *at, const struct node_text *text,
                         const struct node_text *text_beside, struct error *err)
{
    struct parcel file CLEANUP(parcel_free) = {0};
    struct parcel beside CLEANUP(parcel_free) = {0};
    char *id CLEANUP(cleanup_mem) = NULL;
    if (pack(text, at, &file, err) < 0 || pack(text_beside, at, &beside, err) < 0 ||
        create_file_helper(d, base, bind, at, put_command(at, &file, &beside), &id, err) < 0)
        return -1;
    if ((beside.name && docker_put_archive(d, id, at->folder, &beside.tar, err) < 0) ||
        docker_put_archive(d, id, at->folder, &file.tar, err) < 0 || run_helper(d, id, err) < 0) {
        /* The temporary file must not stay behind, nor a helper that is merely slow put it in place
         * later. Where it can't be removed now, the helper stays too, and tells the next run of it.
         */
        struct error ignored CLEANUP(error_clear) = {0};
        if (docker_stop(d, id, 0, &ignored) < 0 ||
            run_removal(d, base, bind, at, false, &ignored) < 0 ||
            docker_remove(d, id, true, true, &ignored) < 0)
            error_state(err, "a temporary file may lie beside it on the node (0600); the next run "
                             "removes it");
        return -1;
    }
    return docker_remove(d, id, true, true, err);
}

int docker_file_put(const struct http_server *d, const json_t *base, const struct node_text *file,
                    const struct node_text *beside, struct error *err)
{
    struct place at CLEANUP(place_free) = {0};
    char *bind CLEANUP(cleanup_mem) = settings_bind_for(base, file->path, err);
    if (!bind)
        return error_wrap(err, "%s", d->what);
    const char *id = json_string_value(json_object_get(base, "Id"));
    if (split(file->path, &at, err) < 0 || clear_but(d, id, err) < 0 ||
        put_by_helper(d, base, bind, &at, file, beside, err) < 0 ||
        (beside && check_file(d, id, beside, err) < 0) || check_file(d, id, file, err) < 0)
        return error_wrap(err, "writing %s", file->path);
    return 0;
}

int docker_file_claim(const struct http_server *d, const json_t *base, const struct node_text *file,
                      bool *claimed, struct error *err)
{
    struct place at CLEANUP(place_free) = {0};
    struct parcel p CLEANUP(parcel_free) = {0};
    char *helper CLEANUP(cleanup_mem) = NULL;
    char *bind CLEANUP(cleanup_mem) = settings_bind_for(base, file->path, err);
    const char *id = json_string_value(json_object_get(base, "Id"));
    if (!bind)
        return error_wrap(err, "%s", d->what);
    if (split(file->path, &at, err) < 0 || pack(file, &at, &p, err) < 0)
        return -1;
    json_t *command = json_pack("[s,s,s,s,s,s,s]", "-c", claim_script, "sh", at.folder, p.name,
                                p.temporary, p.size);
    if (create_file_helper(d, base, bind, &at, command, &helper, err) < 0)
        return -1;
    int rc = docker_put_archive(d, helper, at.folder, &p.tar, err) < 0
                 ? -1
                 : run_helper_for(d, helper, IS_THERE, err);
    /* (It holds no key. Where it stays behind, the next run clears it.) */
    struct error second CLEANUP(error_clear) = {0};
    if (docker_remove(d, helper, true, true, &second) < 0 && rc == 0)
        rc = error_move(err, &second);
    *claimed = rc == 0;
    if (rc < 0 || (rc == 0 && check_file(d, id, file, err) < 0))
        return error_wrap(err, "writing %s", file->path);
    return 0;
}

int docker_folder_make(const struct http_server *d, const json_t *base, const char *path,
                       struct error *err)
{
    struct place at CLEANUP(place_free) = {0};
    char *id CLEANUP(cleanup_mem) = NULL;
    char *bind CLEANUP(cleanup_mem) = settings_bind_for(base, path, err);
    if (!bind)
        return error_wrap(err, "%s", d->what);
    if (split(path, &at, err) < 0)
        return -1;
    json_t *command = json_pack("[s,s,s,s]", "-c", folder_script, "sh", at.folder);
    if (create_file_helper(d, base, bind, &at, command, &id, err) < 0)
        return -1;
    int rc = run_helper_for(d, id, OTHERS_WRITE, err);
    struct error second CLEANUP(error_clear) = {0};
    if (docker_remove(d, id, true, true, &second) < 0 && rc == 0)
        rc = error_move(err, &second);
    if (rc < 0)
        return error_wrap(err, "looking at the folder %s", at.folder);
    if (rc == 0)
        return 0;
    error_set(err, RESULT_REFUSED,
              "%s: %s: others than root may write into it: who does can read every secret", d->what,
              at.folder);
    error_next(err,
               "on that node: chown 0:0 %s && chmod 0755 %s    (whatever else is there), then "
               "the same command again",
               at.folder, at.folder);
    return -1;
}

int docker_file_remove(const struct http_server *d, const json_t *base, const char *path,
                       struct error *err)
{
    struct place at CLEANUP(place_free) = {0};
    const char *id = json_string_value(json_object_get(base, "Id"));
    bool found = false;
    if (split(path, &at, err) < 0 || clear_but(d, id, err) < 0 ||
        docker_has_path(d, id, path, &found, err) < 0)
        return error_wrap(err, "removing %s", path);
    if (!found)
        return 0;
    char *bind CLEANUP(cleanup_mem) = settings_bind_for(base, path, err);
    if (!bind)
        return error_wrap(err, "%s", d->what);
    if (run_removal(d, base, bind, &at, true, err) < 0 ||
        docker_has_path(d, id, path, &found, err) < 0)
        return error_wrap(err, "removing %s", path);
    if (found)
        return error_set(err, RESULT_FAILED, "%s: removing %s: it is still there", d->what, path);
    return 0;
}
