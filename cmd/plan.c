#include "base/buf.h"
#include "base/printable.h"
#include "cmd/cmd.h"

#include <string.h>

/* "10.0.0.11, 10.0.0.12"; to be freed. */
static char *node_list(const struct encrypt_plan_step *s)
{
    struct buf list CLEANUP(buf_free) = {0};
    for (size_t i = 0; i < s->node_count; i++)
        buf_printf(&list, "%s%s", i ? ", " : "", s->nodes[i]);
    return list.len ? make_printable(buf_str(&list)) : NULL;
}

static void print_steps(const struct command_line *l, const struct encrypt_plan_step *steps,
                        size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct encrypt_plan_step *s = &steps[i];
        char *text CLEANUP(cleanup_mem) = in_words(l, s->text);
        char *nodes CLEANUP(cleanup_mem) = node_list(s);
        const char *name = s->form ? s->form : s->what;
        printf("%3zu  %-8s %s%s%s\n", i + 1, name, nodes ? nodes : "", nodes ? ": " : "",
               text ? text : "");
    }
}

static void print_keys(const struct encrypt_plan *p)
{
    if (p->key_count)
        printf("\n%-8s %-18s %s\n%-8s %-18s %s\n", "Keys", "Key Type", "Name", "-------",
               "-----------------", "----");
    for (size_t i = 0; i < p->key_count; i++) {
        const struct encrypt_plan_key *k = &p->keys[i];
        char *name CLEANUP(cleanup_mem) = make_printable(k->name);
        printf("%-8s %-18s %s%s%s%s%s\n", k->change, k->type,
               name ? name : "(made when it is done)", k->fingerprint ? "  fingerprint " : "",
               k->fingerprint ? k->fingerprint : "", k->writes ? ", writes" : "",
               strcmp(k->change, "dropped") == 0 ? "; stays in the state file's history" : "");
    }
}

static void print_resources(const struct encrypt_plan *p)
{
    for (size_t i = 0; i < p->resource_count; i++) {
        char *name CLEANUP(cleanup_mem) = make_printable(p->resources[i].name);
        printf("%s%s: %zu stored, %zu to be rewritten\n", i ? "" : "\n", name,
               p->resources[i].objects, p->resources[i].rewrite);
    }
}

static void print_cost(const struct encrypt_plan *p)
{
    if (!p->restarts && !p->reloads)
        return;
    printf("\n%zu restart%s of kube-apiserver", p->restarts, p->restarts == 1 ? "" : "s");
    if (p->reloads)
        printf(", %zu file%s taken up without one", p->reloads, p->reloads == 1 ? "" : "s");
    if (p->seconds > 0)
        printf("; about %.0f s at the speed of the testbed (6 s a restart, 300 objects a second)",
               p->seconds);
    printf(".\n");
}

static void print_text(const struct command_line *l, const struct encrypt_plan *p)
{
    char *why CLEANUP(cleanup_mem) = make_printable(p->why);
    char *by CLEANUP(cleanup_mem) = make_printable(p->by);
    char *opened CLEANUP(cleanup_mem) = make_printable(p->opened);
    if (p->nothing_to_do)
        printf("Nothing to do: the cluster is what the cluster file says.\n");
    else if (p->open)
        printf(
            "Plan: go on with %s%s, open since %s by %s, on %zu node%s. Nothing was changed.\n\n",
            why, p->aborting ? " (being taken back)" : "", opened, by, p->nodes,
            p->nodes == 1 ? "" : "s");
    else if (why)
        printf("Plan: %s on %zu node%s. Nothing was changed.\n\n", why, p->nodes,
               p->nodes == 1 ? "" : "s");
    print_steps(l, p->steps, p->step_count);
    print_cost(p);
    print_resources(p);
    print_keys(p);
    if (p->back_count) {
        printf("\nInstead, to go back (abort):\n\n");
        print_steps(l, p->back, p->back_count);
    }
    char *no_way_back CLEANUP(cleanup_mem) = in_words(l, p->no_way_back);
    if (no_way_back)
        printf("\nNo way back: %s\n", no_way_back);
    for (size_t i = 0; i < p->note_count; i++) {
        char *note CLEANUP(cleanup_mem) = in_words(l, p->notes[i]);
        printf("%sNote: %s\n", i ? "" : "\n", note);
    }
    char *command CLEANUP(cleanup_mem) = in_words(l, p->command);
    if (command)
        printf("\nTo do it: %s\n", command);
}

/* --- JSON --- */

static json_t *steps_json(const struct encrypt_plan_step *steps, size_t count)
{
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        json_t *nodes = json_array();
        for (size_t k = 0; k < steps[i].node_count; k++)
            json_array_append_new(nodes, json_string(steps[i].nodes[k]));
        json_array_append_new(list,
                              json_pack("{s:s, s:s?, s:o, s:s}", "what", steps[i].what, "form",
                                        steps[i].form, "nodes", nodes, "text", steps[i].text));
    }
    return list;
}

static json_t *keys_json(const struct encrypt_plan *p)
{
    json_t *list = json_array();
    for (size_t i = 0; i < p->key_count; i++) {
        const struct encrypt_plan_key *k = &p->keys[i];
        json_array_append_new(list, json_pack("{s:s, s:s, s:s?, s:s?, s:b}", "change", k->change,
                                              "type", k->type, "name", k->name, "fingerprint",
                                              k->fingerprint, "writes", k->writes));
    }
    return list;
}

static json_t *resources_json(const struct encrypt_plan *p)
{
    json_t *list = json_array();
    for (size_t i = 0; i < p->resource_count; i++)
        json_array_append_new(list, json_pack("{s:s, s:I, s:I}", "name", p->resources[i].name,
                                              "objects", (json_int_t)p->resources[i].objects,
                                              "rewrite", (json_int_t)p->resources[i].rewrite));
    return list;
}

static void print_json(const struct command_line *l, const struct encrypt_plan *p)
{
    json_t *notes = json_array();
    for (size_t i = 0; i < p->note_count; i++)
        json_array_append_new(notes, json_string(p->notes[i]));
    char *command CLEANUP(cleanup_mem) = in_words(l, p->command);
    report_json(json_pack(
        "{s:s, s:b, s:b, s:s?, s:s?, s:s?, s:s?, s:I, s:o, s:o, s:s?, s:o, s:o, s:I, s:I, s:f, "
        "s:o}",
        "result", p->nothing_to_do ? "nothing-to-do" : "plan", "open", p->open, "aborting",
        p->aborting, "why", p->why, "opened", p->opened, "by", p->by, "command", command, "nodes",
        (json_int_t)p->nodes, "steps", steps_json(p->steps, p->step_count), "back",
        steps_json(p->back, p->back_count), "no_way_back", p->no_way_back, "keys", keys_json(p),
        "resources", resources_json(p), "restarts", (json_int_t)p->restarts, "reloads",
        (json_int_t)p->reloads, "seconds", p->seconds, "notes", notes));
}

int cmd_plan(struct command_line *l)
{
    struct encrypt_error err CLEANUP(encrypt_error_clear) = {0};
    struct encrypt_plan p CLEANUP(encrypt_plan_free) = {0};
    enum encrypt_plan_of what = ENCRYPT_PLAN_UP;
    if (l->argument_count > 1 || (l->argument_count && strcmp(l->arguments[0], "up") != 0 &&
                                  strcmp(l->arguments[0], "rotate-key") != 0)) {
        fprintf(stderr, "encrypt plan: of what: `up` (the default) or `rotate-key`?\n");
        return ENCRYPT_USAGE;
    }
    if (l->argument_count && strcmp(l->arguments[0], "rotate-key") == 0)
        what = ENCRYPT_PLAN_ROTATE_KEY;
    int rc = encrypt_plan(&l->options, what, &p, &err);
    progress_end(l);
    if (rc < 0)
        return report_error(l, &err);
    if (l->output == OUTPUT_JSON)
        print_json(l, &p);
    else
        print_text(l, &p);
    return ENCRYPT_OK;
}
