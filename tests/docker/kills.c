/* Killed at each call of start(), go_back() and settle(); then each of what may be called next. */
#include "tests/docker/lab.h"

#include <string.h>

static const char path[] = "/etc/kubernetes/ssl/encryption.yaml";

static int start_with(struct node *n, void *ctx, struct error *err)
{
    return driver_rke.start(n, &(struct apiserver_want){.config_path = ctx}, NULL, err);
}

static int go_back(struct node *n, void *ctx, struct error *err)
{
    return driver_rke.go_back(n, &(struct apiserver_want){.config_path = ctx}, err);
}

static int settle(struct node *n, void *ctx, struct error *err)
{
    (void)ctx;
    return driver_rke.settle(n, err);
}

void check_one(struct lab *l)
{
    static const char *const names[] = {RKE_CURRENT, RKE_NEW, RKE_OLD};
    int with_policy = 0;
    int running = 0;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        json_auto_t *it = inspect(l, names[i]);
        const json_t *policy = json_object_get(json_object_get(it, "HostConfig"), "RestartPolicy");
        const char *name = json_string_value(json_object_get(policy, "Name"));
        with_policy += name && !str_eq(name, "no");
        running += json_is_true(json_object_get(json_object_get(it, "State"), "Running"));
    }
    CHECK(with_policy <= 1);
    CHECK(running <= 1);
}

void check_end(struct lab *l, const char *config_path, const char *policy, bool settled)
{
    struct apiserver a CLEANUP(apiserver_free) = {0};
    DO(driver_rke.observe(&l->node, &a, &err));
    CHECK(a.exists && a.running && str_eq(a.config_path, config_path));
    json_auto_t *it = inspect(l, RKE_CURRENT);
    const json_t *is = json_object_get(json_object_get(it, "HostConfig"), "RestartPolicy");
    CHECK(str_eq(json_string_value(json_object_get(is, "Name")), policy));
    CHECK(str_eq(json_string_value(json_object_get(json_object_get(it, "Config"), "Image")),
                 "rancher/hyperkube:test"));
    if (settled)
        CHECK(ours(l) == 0 && !a.unsettled);
    check_one(l);
}

enum next { SAME, BACK, OTHER };

/* start() killed at each call; then the same again, or going back, or the former flags. */
static void test_start(struct lab *l, const char *from, const char *to, enum next next,
                       const char *policy, const char *name)
{
    begin(l, name);
    json_t *settings = rke_settings(l);
    json_object_set_new(json_object_get(settings, "HostConfig"), "RestartPolicy",
                        json_pack("{s:s}", "Name", policy));
    make_apiserver(l, settings);
    DO(lab_start(l, from, NULL, &err));
    DO(driver_rke.settle(&l->node, &err));
    int points = 0;
    for (int k = 1; killed_at(l, k, start_with, (char *)to); k++, points++) {
        check_one(l);
        if (next == SAME)
            DO(lab_start(l, to, NULL, &err));
        else if (next == BACK)
            DO(lab_go_back(l, from, &err));
        else
            DO(lab_start(l, from, NULL, &err));
        check_end(l, next == SAME ? to : from, policy, next == BACK);
        DO(driver_rke.settle(&l->node, &err));
        check_end(l, next == SAME ? to : from, policy, true);
        if (next == SAME) {
            DO(lab_start(l, from, NULL, &err));
            DO(driver_rke.settle(&l->node, &err));
        }
    }
    CHECK(points == (str_eq(policy, "no") ? 6 : 9));
    end(l, name);
}

/* go_back() killed at each call; then the same again, or start() after all. */
static void test_go_back(struct lab *l, enum next next, const char *name)
{
    begin(l, name);
    make_apiserver(l, NULL);
    int points = 0;
    for (int k = 1;; k++, points++) {
        DO(lab_start(l, path, NULL, &err));
        if (!killed_at(l, k, go_back, NULL))
            break;
        check_one(l);
        if (next == BACK)
            DO(lab_go_back(l, NULL, &err));
        else
            DO(lab_start(l, next == SAME ? path : NULL, NULL, &err));
        check_end(l, next == SAME ? path : NULL, "always", next == BACK);
        DO(driver_rke.settle(&l->node, &err));
        check_end(l, next == SAME ? path : NULL, "always", true);
        DO(lab_start(l, NULL, NULL, &err));
        DO(driver_rke.settle(&l->node, &err));
    }
    CHECK(points == 9);
    end(l, name);
}

static void test_settle(struct lab *l)
{
    begin(l, "settle");
    make_apiserver(l, NULL);
    int points = 0;
    for (int k = 1;; k++, points++) {
        DO(lab_start(l, points % 2 ? NULL : path, NULL, &err));
        if (!killed_at(l, k, settle, NULL))
            break;
        check_end(l, points % 2 ? NULL : path, "always", false);
        DO(driver_rke.settle(&l->node, &err));
        check_end(l, points % 2 ? NULL : path, "always", true);
    }
    CHECK(points == 2);

    /* The next start() without settling: what runs is what is kept. */
    make_apiserver(l, NULL);
    DO(lab_start(l, path, NULL, &err));
    DO(lab_start(l, "/etc/kubernetes/ssl/other.yaml", NULL, &err));
    check_end(l, "/etc/kubernetes/ssl/other.yaml", "always", false);
    DO(lab_go_back(l, path, &err));
    check_end(l, path, "always", true);

    /* Nothing is thrown away while nothing runs. */
    DO(lab_start(l, NULL, NULL, &err));
    DO(docker_stop(&l->d, RKE_CURRENT, 5, &err));
    REFUSED(driver_rke.settle(&l->node, &err), "doesn't run");
    DO(lab_go_back(l, path, &err));
    check_end(l, path, "always", true);
    end(l, "killed at each call of settle()");
}

/* What an earlier change left, never settled, is not gone back to: its flags are others. */
static void test_stale(struct lab *l)
{
    begin(l, "stale");
    struct apiserver a CLEANUP(apiserver_free) = {0};
    struct apiserver b CLEANUP(apiserver_free) = {0};
    make_apiserver(l, NULL);
    DO(lab_start(l, path, NULL, &err));
    int points = 0;
    for (int k = 1;; k++, points++) {
        apiserver_free(&a);
        apiserver_free(&b);
        DO(driver_rke.observe(&l->node, &a, &err));
        DO(lab_start(l, path, a.process, &err));
        check_end(l, path, "always", false);
        DO(driver_rke.observe(&l->node, &b, &err));
        CHECK(!str_eq(a.process, b.process) && b.unsettled);
        if (!killed_at(l, k, go_back, (char *)path))
            break;
        check_end(l, path, "always", false);
    }
    CHECK(points == 1);
    apiserver_free(&a);
    DO(driver_rke.observe(&l->node, &a, &err));
    CHECK(!str_eq(a.process, b.process) && a.unsettled);
    check_end(l, path, "always", false);
    DO(driver_rke.settle(&l->node, &err));
    check_end(l, path, "always", true);

    /* RKE put one of the right flags beside what was kept: that is in force. */
    make_apiserver(l, NULL);
    DO(lab_start(l, path, NULL, &err));
    DO(docker_remove(&l->d, RKE_CURRENT, true, true, &err));
    json_auto_t *settings = rke_settings(l);
    char *id CLEANUP(cleanup_mem) = NULL;
    DO(docker_create(&l->d, RKE_CURRENT, settings, &id, &err));
    DO(docker_start(&l->d, id, &err));
    DO(lab_go_back(l, NULL, &err));
    json_auto_t *it = inspect(l, RKE_CURRENT);
    CHECK(str_eq(json_string_value(json_object_get(it, "Id")), id));
    check_end(l, NULL, "always", false);
    DO(driver_rke.settle(&l->node, &err));
    check_end(l, NULL, "always", true);

    /* Neither has what is wanted: made anew. What was in force is kept. */
    DO(lab_start(l, "/etc/kubernetes/ssl/other.yaml", NULL, &err));
    points = 0;
    for (int k = 1; killed_at(l, k, go_back, (char *)path); k++, points++) {
        check_one(l);
        DO(lab_go_back(l, path, &err));
        check_end(l, path, "always", false);
        DO(driver_rke.settle(&l->node, &err));
        check_end(l, path, "always", true);
        DO(lab_start(l, NULL, NULL, &err));
        DO(lab_start(l, "/etc/kubernetes/ssl/other.yaml", NULL, &err));
    }
    CHECK(points >= 9);
    check_end(l, path, "always", false);
    DO(lab_go_back(l, "/etc/kubernetes/ssl/other.yaml", &err));
    check_end(l, "/etc/kubernetes/ssl/other.yaml", "always", true);
    end(l, "an old container of another change");
}

/* Somebody cleared away containers that don't run (docker container prune). */
static void test_pruned(struct lab *l)
{
    begin(l, "pruned");
    make_apiserver(l, NULL);
    DO(lab_start(l, path, NULL, &err));
    DO(docker_remove(&l->d, RKE_RECORD, true, true, &err));
    DO(lab_go_back(l, NULL, &err));
    check_end(l, NULL, "always", true);
    DO(lab_start(l, path, NULL, &err));
    DO(docker_remove(&l->d, RKE_RECORD, true, true, &err));
    DO(docker_remove(&l->d, RKE_OLD, true, true, &err));
    DO(driver_rke.settle(&l->node, &err));
    check_end(l, path, "always", true);
    /* Between the renames, and without the record. */
    CHECK(killed_at(l, 6, start_with, NULL));
    DO(docker_remove(&l->d, RKE_RECORD, true, true, &err));
    DO(lab_start(l, NULL, NULL, &err));
    DO(driver_rke.settle(&l->node, &err));
    check_end(l, NULL, "always", true);
    end(l, "without the record");
}

void test_kills(struct lab *l)
{
    test_start(l, NULL, path, SAME, "always", "start() killed, then again");
    test_start(l, path, NULL, BACK, "always", "start() killed, then go_back()");
    test_start(l, NULL, path, OTHER, "always",
               "start() killed, then start() with the former flags");
    test_start(l, NULL, path, BACK, "no", "start() killed, no restart policy");
    test_go_back(l, BACK, "go_back() killed, then again");
    test_go_back(l, SAME, "go_back() killed, then start() after all");
    test_settle(l);
    test_stale(l);
    test_pruned(l);
}
