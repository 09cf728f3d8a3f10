/* What the SSH user may do by sudo, asked before anything is changed: `sudo -l COMMAND` runs
 * nothing. */
#include "provisioner/host/host.h"

#include <string.h>

enum { SHOWN = 4 };

/* Each argument is a command; says those that sudo would not run, and whether a password is why. */
static const char script[] = "for command; do\n"
                             "  why=$(sudo -n -l -- $command 2>&1 >/dev/null) && continue\n"
                             "  case $why in\n"
                             "  *password*) echo \"password $command\" ;;\n"
                             "  *) echo \"never $command\" ;;\n"
                             "  esac\n"
                             "done";

void host_may_not(const char *said, struct buf *out)
{
    struct buf text CLEANUP(buf_free) = {0};
    size_t count = 0;
    bool password = true;
    for (const char *line = said; *line;) {
        size_t len = strcspn(line, "\n");
        size_t word = strcspn(line, " ");
        password = password && str_starts(line, "password ");
        if (word < len && count++ < SHOWN)
            buf_printf(&text, "\n  %.*s", (int)(len - word - 1), line + word + 1);
        line += len + (line[len] == '\n');
    }
    if (count > SHOWN)
        buf_printf(&text, "\n  and %zu more", count - SHOWN);
    buf_printf(out, "%s:%s",
               password ? "the SSH user may not run by sudo without a password"
                        : "sudo does not permit the SSH user to run",
               buf_str(&text));
}

static int refuse(const struct host *h, const char *said, struct error *err)
{
    struct buf text CLEANUP(buf_free) = {0};
    host_may_not(said, &text);
    error_set(err, RESULT_REFUSED, "node %s: %s", h->name, buf_str(&text));
    return host_next_sudo(h, err);
}

int host_check_may(const struct host *h, const char *const *commands, struct error *err)
{
    struct buf missing CLEANUP(buf_free) = {0};
    if (h->root)
        return 0;
    if (host_do(h, "asking sudo what the SSH user may do", script, commands, NULL, &missing, err) <
        0)
        return -1;
    return missing.len ? refuse(h, buf_str(&missing), err) : 0;
}

enum { MOST = 24 };

/* The commands on one file. A path with a space can't be told to sudo so; it will be seen when it
 * is written. (sync may be refused: then the whole disk is flushed, without sudo.) */
struct wishes {
    char *text[MOST + 1];
    size_t count;
};

static void wishes_free(struct wishes *w)
{
    for (size_t i = 0; i < w->count; i++)
        mem_free(w->text[i]);
}

static void wish(struct wishes *w, char *command)
{
    w->text[w->count++] = command;
}

static int ask(const struct host *h, const struct wishes *w, struct error *err)
{
    const char *commands[MOST + 1] = {NULL};
    for (size_t i = 0; i < w->count; i++)
        commands[i] = w->text[i];
    return host_check_may(h, commands, err);
}

static bool can_be_told(const struct host *h, const char *path)
{
    return !h->root && path[0] == '/' && !strpbrk(path, " \t\n");
}

/* As files.c makes a folder that is missing. */
static const char *mode_of(const char *folder, const char *mode)
{
    static const char shared[] = "/etc/";
    return str_starts(folder, shared) && !strchr(folder + strlen(shared), '/') ? "0755" : mode;
}

/* `temporary` is to be freed. */
static int wish_to_write(const struct host *h, const char *path, const char *folder_mode,
                         struct wishes *w, char **temporary, struct error *err)
{
    const char *slash = strrchr(path, '/');
    bool there = false;
    char *folder CLEANUP(cleanup_mem) =
        slash == path ? mem_strdup("/") : mem_strndup(path, (size_t)(slash - path));
    if (host_file_is(h, "-d", folder, &there, err) < 0)
        return -1;
    const char *new = *temporary = mem_printf("%s/.%s.encrypt-00000000", folder, slash + 1);
    if (!there)
        wish(w, mem_printf("mkdir -p -m %s %s", mode_of(folder, folder_mode), folder));
    wish(w, mem_printf("ls -ldn %s/.", folder));
    wish(w, mem_printf("ls -A %s", folder));
    wish(w, mem_printf("test -d %s", path));
    wish(w, mem_printf("test ! -d %s", path));
    wish(w, mem_printf("tee %s", new));
    wish(w, mem_printf("cat %s", new));
    wish(w, mem_printf("mv -f %s %s", new, path));
    wish(w, mem_printf("rm -f %s", new));
    wish(w, mem_printf("test ! -e %s", path));
    wish(w, mem_printf("cat %s", path));
    return 0;
}

int host_check_may_put(const struct host *h, const char *path, struct error *err)
{
    struct wishes w CLEANUP(wishes_free) = {0};
    char *new CLEANUP(cleanup_mem) = NULL;
    if (!can_be_told(h, path))
        return 0;
    if (wish_to_write(h, path, "0700", &w, &new, err) < 0)
        return -1;
    wish(&w, mem_printf("touch %s", new));
    wish(&w, mem_printf("ls -ldn %s", new));
    wish(&w, mem_printf("rm -f %s", path));
    return ask(h, &w, err);
}

int host_check_may_replace(const struct host *h, const char *path, bool secret, struct error *err)
{
    struct wishes w CLEANUP(wishes_free) = {0};
    char *new CLEANUP(cleanup_mem) = NULL;
    bool there = false;
    if (!can_be_told(h, path))
        return 0;
    if (wish_to_write(h, path, "0755", &w, &new, err) < 0 ||
        host_file_is(h, "-e", path, &there, err) < 0)
        return -1;
    wish(&w, mem_printf("test -L %s", path));
    wish(&w, mem_printf("test ! -L %s", path));
    wish(&w, mem_printf("test -e %s", path));
    wish(&w, mem_printf("cp -p %s %s", path, new));
    if (!there) {
        wish(&w, mem_printf("touch %s", new));
        wish(&w, mem_printf("chmod %s %s", secret ? "0600" : "0644", new));
    }
    return ask(h, &w, err);
}
