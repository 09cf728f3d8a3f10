#include "tests/docker/lab.h"

#include "provisioner/docker/settings.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char path[] = "/etc/kubernetes/ssl/encryption.yaml";

static void observe(struct lab *l, struct apiserver *a)
{
    apiserver_free(a);
    DO(driver_rke.observe(&l->node, a, &err));
}

static void test_observe(struct lab *l)
{
    begin(l, "observe");
    struct apiserver a CLEANUP(apiserver_free) = {0};
    make_apiserver(l, NULL);
    observe(l, &a);
    CHECK(a.exists && a.running && a.process && !a.config_path && !a.unsettled);
    CHECK(str_eq(a.args[0], "--anonymous-auth=false") && !a.args[3]);
    CHECK(str_eq(apiserver_flag(&a, "secure-port"), "6443"));
    DO(docker_stop(&l->d, RKE_CURRENT, 5, &err));
    observe(l, &a);
    CHECK(a.exists && !a.running && !a.process);
    DO(docker_rename(&l->d, RKE_CURRENT, "else", &err));
    observe(l, &a);
    CHECK(!a.exists && !a.running && !a.unsettled);
    DO(driver_rke.settle(&l->node, &err));
    REFUSED(lab_start(l, path, NULL, &err), "no container");
    REFUSED(lab_go_back(l, NULL, &err), "no container");

    json_t *crash = rke_settings(l);
    json_array_append_new(json_object_get(crash, "Entrypoint"), json_string("--crash=true"));
    make_apiserver(l, crash);
    for (int i = 0; i < 100 && a.restarts < 2; i++) {
        usleep(50000);
        observe(l, &a);
    }
    CHECK(a.exists && a.restarts >= 2);
    end(l, "observing");
}

static void test_restart(struct lab *l)
{
    begin(l, "restart");
    struct apiserver a CLEANUP(apiserver_free) = {0};
    struct apiserver b CLEANUP(apiserver_free) = {0};
    make_apiserver(l, NULL);
    observe(l, &a);
    int64_t from = loop_now();
    DO(lab_start(l, NULL, a.process, &err));
    printf("  start, same flags: %lld ms\n", (long long)(loop_now() - from));
    observe(l, &b);
    CHECK(b.running && !str_eq(a.process, b.process) && !b.unsettled);
    DO(lab_start(l, NULL, a.process, &err));
    observe(l, &a);
    CHECK(str_eq(a.process, b.process));
    DO(lab_go_back(l, NULL, &err));
    observe(l, &b);
    CHECK(b.running && !str_eq(a.process, b.process) && !b.unsettled);
    DO(docker_stop(&l->d, RKE_CURRENT, 5, &err));
    DO(lab_start(l, NULL, b.process, &err));
    observe(l, &a);
    CHECK(a.running && !str_eq(a.process, b.process));
    end(l, "a new process with the same flags");
}

/* The order of these means nothing, and the daemon adds the container's own id to the aliases. */
static json_t *sorted_aliases(const json_t *endpoint, const char *id)
{
    json_t *set = json_object();
    size_t i = 0;
    const json_t *alias = NULL;
    json_array_foreach (json_object_get(endpoint, "Aliases"), i, alias) {
        if (!str_starts(id, json_string_value(alias)))
            json_object_set_new(set, json_string_value(alias), json_true());
    }
    return set;
}

/* All that was asked for of a container, without its flags' array. */
static json_t *settings_of(const json_t *inspected, const char *flags)
{
    const char *id = json_string_value(json_object_get(inspected, "Id"));
    json_t *config = json_deep_copy(json_object_get(inspected, "Config"));
    json_t *mounts = json_object();
    json_t *networks = json_object();
    size_t i = 0;
    json_t *item = NULL;
    json_array_foreach (json_object_get(inspected, "Mounts"), i, item) {
        json_object_set(mounts, json_string_value(json_object_get(item, "Destination")), item);
        /* Named, a volume that was anonymous shows how it is bound. */
        json_object_del(item, "Mode");
        json_object_del(item, "Driver");
    }
    const char *name = NULL;
    json_object_foreach (json_object_get(json_object_get(inspected, "NetworkSettings"), "Networks"),
                         name, item) {
        json_object_set_new(networks, name,
                            json_pack("{s:o, s:O, s:O, s:O}", "Aliases", sorted_aliases(item, id),
                                      "IPAMConfig", json_object_get(item, "IPAMConfig"), "Links",
                                      json_object_get(item, "Links"), "DriverOpts",
                                      json_object_get(item, "DriverOpts")));
    }
    json_object_del(config, flags);
    return json_pack("{s:o, s:O, s:o, s:o, s:O}", "Config", config, "HostConfig",
                     json_object_get(inspected, "HostConfig"), "Mounts", mounts, "Networks",
                     networks, "Image", json_object_get(inspected, "Image"));
}

static bool same_settings(const json_t *a, const json_t *b, const char *flags)
{
    json_auto_t *x = settings_of(a, flags);
    json_auto_t *y = settings_of(b, flags);
    const char *key = NULL;
    json_t *value = NULL;
    bool same = true;
    json_object_foreach (x, key, value) {
        if (json_equal(value, json_object_get(y, key)))
            continue;
        char *was = json_dumps(value, JSON_SORT_KEYS);
        char *is = json_dumps(json_object_get(y, key), JSON_SORT_KEYS);
        printf("    %s was %s\n    and is %s\n", key, was, is);
        mem_free(was);
        mem_free(is);
        same = false;
    }
    return same;
}

/* Made anew with the flag, and without again, it is the same but for it. */
static void check_kept(struct lab *l, const char *name, json_t *settings, const char *flags)
{
    begin(l, name);
    struct apiserver a CLEANUP(apiserver_free) = {0};
    make_apiserver(l, settings);
    json_auto_t *before = inspect(l, RKE_CURRENT);
    observe(l, &a);
    DO(lab_start(l, path, a.process, &err));
    json_auto_t *with = inspect(l, RKE_CURRENT);
    CHECK(same_settings(before, with, flags));
    json_auto_t *list = json_deep_copy(json_object_get(json_object_get(before, "Config"), flags));
    json_array_append_new(list, json_sprintf("--encryption-provider-config=%s", path));
    CHECK(json_equal(list, json_object_get(json_object_get(with, "Config"), flags)));
    observe(l, &a);
    CHECK(a.running && str_eq(a.config_path, path) && a.unsettled);
    DO(driver_rke.settle(&l->node, &err));
    CHECK(ours(l) == 0);
    DO(lab_start(l, NULL, a.process, &err));
    DO(driver_rke.settle(&l->node, &err));
    json_auto_t *without = inspect(l, RKE_CURRENT);
    CHECK(same_settings(before, without, flags));
    CHECK(json_equal(json_object_get(json_object_get(before, "Config"), flags),
                     json_object_get(json_object_get(without, "Config"), flags)));
    observe(l, &a);
    CHECK(a.running && !a.config_path && !a.unsettled);
    end(l, name);
}

static json_t *with(struct lab *l, const char *config, const char *host)
{
    json_t *s = rke_settings(l);
    json_auto_t *c = json_loads(config, 0, NULL);
    json_auto_t *h = json_loads(host, 0, NULL);
    CHECK(c && h);
    json_object_update(s, c);
    json_object_update(json_object_get(s, "HostConfig"), h);
    return s;
}

static void post(struct lab *l, const char *to, const char *body)
{
    struct http_request r CLEANUP(http_reset) = {.server = &l->d,
                                                 .method = body ? "POST" : "DELETE",
                                                 .path = mem_strdup(to),
                                                 .content_type = body ? "application/json" : NULL};
    buf_adds(&r.body, body ? body : "");
    DO(http_perform(&r, &err));
    CHECK(r.status < 300);
}

static void test_kept(struct lab *l)
{
    check_kept(l, "kept: RKE's own", NULL, "Entrypoint");
    check_kept(l, "kept: limits and capabilities",
               with(l,
                    "{\"User\":\"0\",\"WorkingDir\":\"/tmp\",\"StopSignal\":\"SIGINT\","
                    "\"StopTimeout\":7,\"Tty\":true,\"OpenStdin\":true,\"Hostname\":\"given\","
                    "\"Domainname\":\"example.org\",\"ExposedPorts\":{\"6443/tcp\":{}},"
                    "\"Healthcheck\":{\"Test\":[\"CMD\",\"true\"],\"Interval\":30000000000},"
                    "\"Labels\":{\"a\":\"b=c\",\"empty\":\"\"}}",
                    "{\"Tmpfs\":{\"/run\":\"size=1m\"},\"Memory\":134217728,\"CpuShares\":512,"
                    "\"CapAdd\":[\"NET_ADMIN\"],\"CapDrop\":[\"MKNOD\"],\"OomScoreAdj\":5,"
                    "\"Ulimits\":[{\"Name\":\"nofile\",\"Soft\":1024,\"Hard\":2048}],"
                    "\"ExtraHosts\":[\"somewhere:127.0.0.9\"],\"Dns\":[\"127.0.0.53\"],"
                    "\"SecurityOpt\":[\"label=disable\"],\"ReadonlyRootfs\":true,\"Init\":true,"
                    "\"PidsLimit\":100,\"ShmSize\":1048576,\"GroupAdd\":[\"12\"],"
                    "\"LogConfig\":{\"Type\":\"json-file\",\"Config\":{\"max-size\":\"1m\"}},"
                    "\"Mounts\":[{\"Type\":\"volume\",\"Source\":\"named\",\"Target\":\"/m\"}]}"),
               "Entrypoint");
    check_kept(l, "kept: the node's namespaces",
               with(l, "{}",
                    "{\"PidMode\":\"host\",\"IpcMode\":\"host\",\"UTSMode\":\"host\","
                    "\"RestartPolicy\":{\"Name\":\"unless-stopped\"},"
                    "\"Devices\":[{\"PathOnHost\":\"/dev/null\",\"PathInContainer\":\"/dev/x\","
                    "\"CgroupPermissions\":\"r\"}]}"),
               "Entrypoint");
    check_kept(l, "kept: flags in Cmd, no restart policy",
               with(l, "{\"Entrypoint\":[\"kube-apiserver\"],\"Cmd\":[\"--a=b\",\"--c\",\"d\"]}",
                    "{\"RestartPolicy\":{\"Name\":\"no\"}}"),
               "Cmd");
    check_kept(l, "kept: on-failure",
               with(l, "{}",
                    "{\"RestartPolicy\":{\"Name\":\"on-failure\","
                    "\"MaximumRetryCount\":3}}"),
               "Entrypoint");

    post(l, "/networks/create",
         "{\"Name\":\"first\",\"Internal\":true,\"IPAM\":{\"Config\":["
         "{\"Subnet\":\"10.213.77.0/24\"}]}}");
    check_kept(l, "kept: a network with an address",
               with(l,
                    "{\"Hostname\":\"given\",\"MacAddress\":\"02:42:0a:d5:4d:63\","
                    "\"NetworkingConfig\":{\"EndpointsConfig\":{\"first\":{\"Aliases\":[\"api\"],"
                    "\"IPAMConfig\":{\"IPv4Address\":\"10.213.77.9\"}}}}}",
                    "{\"NetworkMode\":\"first\"}"),
               "Entrypoint");
    make_apiserver(l, NULL);
    post(l, "/networks/first", NULL);
}

/* Volumes: a named one stays; an anonymous one is the same, and named from then on; one of another
 * container comes from there again. */
static void test_volumes(struct lab *l)
{
    begin(l, "volumes");
    make_apiserver(l, NULL);
    json_auto_t *sidekick = json_pack(
        "{s:s, s:[s], s:{s:{}}, s:{s:s}}", "Image", "rancher/hyperkube:test", "Entrypoint",
        "/bin/true", "Volumes", "/opt/rke-tools", "HostConfig", "NetworkMode", "none");
    char *id CLEANUP(cleanup_mem) = NULL;
    char *other CLEANUP(cleanup_mem) = NULL;
    DO(docker_create(&l->d, "service-sidekick", sidekick, &id, &err));
    DO(docker_remove(&l->d, RKE_CURRENT, true, true, &err));
    json_auto_t *settings =
        with(l, "{\"Volumes\":{\"/anonymous\":{}}}", "{\"VolumesFrom\":[\"service-sidekick\"]}");
    DO(docker_create(&l->d, RKE_CURRENT, settings, &other, &err));
    DO(docker_start(&l->d, RKE_CURRENT, &err));
    json_auto_t *before = inspect(l, RKE_CURRENT);
    DO(lab_start(l, path, NULL, &err));
    json_auto_t *after = inspect(l, RKE_CURRENT);
    DO(driver_rke.settle(&l->node, &err));
    json_auto_t *settled = inspect(l, RKE_CURRENT);
    const json_t *all[] = {before, after, settled};
    const char *names[3][2] = {{NULL}};
    for (size_t k = 0; k < 3; k++) {
        size_t i = 0;
        const json_t *m = NULL;
        json_array_foreach (json_object_get(all[k], "Mounts"), i, m) {
            const char *to = json_string_value(json_object_get(m, "Destination"));
            const char *name = json_string_value(json_object_get(m, "Name"));
            if (str_eq(to, "/anonymous"))
                names[k][0] = name;
            if (str_eq(to, "/opt/rke-tools"))
                names[k][1] = name;
        }
    }
    for (size_t k = 1; k < 3; k++)
        CHECK(names[0][0] && str_eq(names[k][0], names[0][0]) && names[0][1] &&
              str_eq(names[k][1], names[0][1]));
    /* Only the anonymous one had to be named. */
    CHECK(json_array_size(json_object_get(json_object_get(settled, "HostConfig"), "Binds")) == 2);
    char *volume CLEANUP(cleanup_mem) = mem_printf("%s/data/volumes/%s", l->dir, names[0][0]);
    CHECK(access(volume, F_OK) == 0);
    end(l, "volumes");
}

/* Not started: where root lacks a capability, a privileged container can't be. */
static void test_privileged(struct lab *l)
{
    begin(l, "privileged");
    make_apiserver(l, NULL);
    json_auto_t *settings =
        with(l, "{}", "{\"Privileged\":true,\"SecurityOpt\":[\"label=disable\"]}");
    json_auto_t *body = NULL;
    json_auto_t *networks = NULL;
    char *id CLEANUP(cleanup_mem) = NULL;
    char *again CLEANUP(cleanup_mem) = NULL;
    DO(docker_create(&l->d, "first", settings, &id, &err));
    json_auto_t *before = inspect(l, "first");
    DO(settings_for_create(before, "rancher/hyperkube:test", NULL, &body, &networks, &err));
    CHECK(json_object_size(networks) == 0);
    DO(docker_create(&l->d, "second", body, &again, &err));
    DO(docker_update_policy(&l->d, "second",
                            json_object_get(json_object_get(before, "HostConfig"), "RestartPolicy"),
                            &err));
    json_auto_t *after = inspect(l, "second");
    CHECK(same_settings(before, after, "Entrypoint"));
    end(l, "kept: privileged");
}

static void test_refused(struct lab *l)
{
    begin(l, "refused");
    make_apiserver(l, with(l, "{}", "{\"AutoRemove\":true,\"RestartPolicy\":{\"Name\":\"no\"}}"));
    REFUSED(lab_start(l, path, NULL, &err), "--rm");
    make_apiserver(l, with(l, "{\"Entrypoint\":[\"sh\",\"-c\",\"kube-apiserver --a=b\"]}", "{}"));
    REFUSED(lab_start(l, path, NULL, &err), "shell script");
    struct apiserver a CLEANUP(apiserver_free) = {0};
    observe(l, &a);
    CHECK(a.running && ours(l) == 0);
    end(l, "what can't be made anew");
}

/* The daemon refuses to make the new one: what runs goes on as if nothing had been. */
static void test_not_made(struct lab *l)
{
    begin(l, "not made");
    struct apiserver a CLEANUP(apiserver_free) = {0};
    struct apiserver b CLEANUP(apiserver_free) = {0};
    char *folder CLEANUP(cleanup_mem) = mem_printf("%s/passing", l->dir);
    char *host CLEANUP(cleanup_mem) = mem_printf(
        "{\"Mounts\":[{\"Type\":\"bind\",\"Source\":\"%s\",\"Target\":\"/p\"}]}", folder);
    CHECK(mkdir(folder, 0755) == 0);
    make_apiserver(l, with(l, "{}", host));
    CHECK(rmdir(folder) == 0);
    observe(l, &a);
    REFUSED(lab_start(l, path, a.process, &err), "does not exist");
    observe(l, &b);
    CHECK(b.running && str_eq(a.process, b.process) && !b.unsettled && ours(l) == 0);
    /* What an earlier change kept is kept still. */
    CHECK(mkdir(folder, 0755) == 0);
    DO(lab_start(l, path, a.process, &err));
    observe(l, &a);
    CHECK(rmdir(folder) == 0);
    REFUSED(lab_start(l, "/etc/other.yaml", a.process, &err), "does not exist");
    observe(l, &b);
    json_auto_t *old = inspect(l, RKE_OLD);
    CHECK(b.running && str_eq(a.process, b.process) && b.unsettled && old);
    DO(driver_rke.settle(&l->node, &err));
    observe(l, &b);
    CHECK(b.running && str_eq(a.process, b.process) && !b.unsettled);
    end(l, "a new one that can't be made");
}

static void test_log(struct lab *l)
{
    begin(l, "log");
    for (int tty = 0; tty < 2; tty++) {
        make_apiserver(l, with(l, tty ? "{\"Tty\":true}" : "{}", "{}"));
        usleep(300000);
        struct buf log CLEANUP(buf_free) = {0};
        DO(driver_rke.log_tail(&l->node, 10, &log, &err));
        CHECK(strstr(buf_str(&log), "called with --anonymous-auth=false --cloud-provider= "
                                    "--secure-port=6443\n"));
        CHECK(strstr(buf_str(&log), "(1 line that may hold a key left out)"));
        CHECK(!strstr(buf_str(&log), "c2Vjc"));
    }
    end(l, "the log's last lines");
}

/* A dockerd that restarts brings up one of them only: the one that is in force. */
static void test_daemon_restart(struct lab *l)
{
    begin(l, "dockerd");
    make_apiserver(l, NULL);
    DO(lab_start(l, path, NULL, &err));
    driver_rke.close(&l->node);
    lab_stop_dockerd(l);
    lab_start_dockerd(l);
    node_open(&l->node, l->loop, l->socket);
    struct apiserver a CLEANUP(apiserver_free) = {0};
    for (int i = 0; i < 100 && !a.running; i++) {
        usleep(50000);
        observe(l, &a);
    }
    CHECK(a.running && str_eq(a.config_path, path) && a.unsettled);
    json_auto_t *old = inspect(l, RKE_OLD);
    CHECK(str_eq(json_string_value(json_object_get(json_object_get(old, "State"), "Status")),
                 "exited"));
    int64_t from = loop_now();
    DO(lab_go_back(l, NULL, &err));
    printf("  go_back: %lld ms\n", (long long)(loop_now() - from));
    observe(l, &a);
    CHECK(a.running && !a.config_path && !a.unsettled);
    from = loop_now();
    DO(lab_start(l, path, a.process, &err));
    printf("  start, other flags: %lld ms\n", (long long)(loop_now() - from));
    from = loop_now();
    DO(driver_rke.settle(&l->node, &err));
    printf("  settle: %lld ms\n", (long long)(loop_now() - from));
    end(l, "dockerd restarts before it is settled");
}

void test_changes(struct lab *l)
{
    test_observe(l);
    test_restart(l);
    test_kept(l);
    test_privileged(l);
    test_volumes(l);
    test_refused(l);
    test_not_made(l);
    test_log(l);
    test_daemon_restart(l);
}
