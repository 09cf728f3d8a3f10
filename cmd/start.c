/* What a provisioner is to start kube-apiservers with, on standard output. */
#include "base/printable.h"
#include "cmd/cmd.h"

static json_t *text(const char *s)
{
    char *copy CLEANUP(cleanup_mem) = make_printable(s ? s : "");
    return json_string(copy);
}

static json_t *texts(char *const *list)
{
    json_t *out = json_array();
    for (; *list; list++)
        json_array_append_new(out, text(*list));
    return out;
}

static json_t *files_json(const struct encrypt_start_node *n)
{
    json_t *out = json_array();
    for (size_t i = 0; i < n->file_count; i++) {
        const struct encrypt_start_file *f = &n->files[i];
        json_array_append_new(out, json_pack("{s:o, s:o, s:o, s:o}", "path", text(f->path), "mode",
                                             text(f->mode), "owner", text(f->owner), "sha256",
                                             text(f->sha256)));
    }
    return out;
}

json_t *start_json(const struct encrypt_start *s)
{
    json_t *nodes = json_array();
    for (size_t i = 0; i < s->node_count; i++) {
        const struct encrypt_start_node *n = &s->nodes[i];
        json_array_append_new(nodes,
                              json_pack("{s:o, s:o, s:b, s:b, s:o, s:o, s:o}", "address",
                                        text(n->address), "name", text(n->name), "started",
                                        n->started, "plain", n->plain, "flags", texts(n->flags),
                                        "mounts", texts(n->mounts), "files", files_json(n)));
    }
    return json_pack("{s:b, s:b, s:o, s:o, s:o, s:o}", "enable", s->enable, "kms", s->kms, "key",
                     text(s->key), "state", text(s->state), "next", text(s->next), "nodes", nodes);
}

static void print_list(const char *what, char *const *list)
{
    for (; *list; list++) {
        char *copy CLEANUP(cleanup_mem) = make_printable(*list);
        printf("  %-6s %s\n", what, copy);
    }
}

void start_print(const struct encrypt_start *s)
{
    char *next CLEANUP(cleanup_mem) = make_printable(s->next);
    for (size_t i = 0; i < s->node_count; i++) {
        const struct encrypt_start_node *n = &s->nodes[i];
        char *address CLEANUP(cleanup_mem) = make_printable(n->address);
        printf("node %s%s\n", address,
               n->plain      ? " (has a kube-apiserver without the flag: it writes plain)"
               : n->started  ? " (has its kube-apiserver)"
               : n->flags[0] ? ": start kube-apiserver with"
                             : ": start kube-apiserver; nothing of encryption is needed");
        print_list("flag", n->flags);
        print_list("mount", n->mounts);
        for (size_t k = 0; k < n->file_count; k++) {
            const struct encrypt_start_file *f = &n->files[k];
            char *path CLEANUP(cleanup_mem) = make_printable(f->path);
            printf("  %-6s %s (there already; %s, %s, SHA-256 %s)\n", "file", path, f->mode,
                   f->owner, f->sha256);
        }
    }
    if (next && *next)
        printf("Then: %s\n", next);
}
