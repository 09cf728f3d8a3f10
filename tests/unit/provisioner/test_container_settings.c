#include "provisioner/docker/binds.h"
#include "provisioner/docker/engine.h"
#include "provisioner/docker/settings.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* JSON with ' for ". */
static json_t *json(const char *text)
{
    char *copy CLEANUP(cleanup_mem) = mem_strdup(text);
    for (char *p = copy; *p; p++) {
        if (*p == '\'')
            *p = '"';
    }
    json_error_t why;
    json_t *j = json_loads(copy, JSON_DECODE_ANY, &why);
    if (!j)
        fail_msg("%s: %s", why.text, text);
    return j;
}

static void set(const char *config, const char *path, const char *expected)
{
    struct error err CLEANUP(error_clear) = {0};
    json_auto_t *c = json(config);
    json_auto_t *e = json(expected);
    assert_int_equal(settings_set_config_flag(c, path, &err), 0);
    if (!json_equal(c, e))
        fail_msg("%s became %s", config, json_dumps(c, 0));
}

static void test_flag(void **state)
{
    (void)state;
    set("{'Entrypoint':['e','kube-apiserver','--a=b','--c=d'],'Cmd':null}", "/p",
        "{'Entrypoint':['e','kube-apiserver','--a=b','--c=d','--encryption-provider-config=/p'],"
        "'Cmd':null}");
    set("{'Entrypoint':['kube-apiserver'],'Cmd':['--a=b']}", "/p",
        "{'Entrypoint':['kube-apiserver'],'Cmd':['--a=b','--encryption-provider-config=/p']}");
    set("{'Entrypoint':['x','--a=b'],'Cmd':['c']}", "/p",
        "{'Entrypoint':['x','--a=b','--encryption-provider-config=/p'],'Cmd':['c']}");
    set("{'Entrypoint':['kube-apiserver'],'Cmd':null}", "/p",
        "{'Entrypoint':['kube-apiserver','--encryption-provider-config=/p'],'Cmd':null}");
    set("{'Cmd':['kube-apiserver']}", "/p",
        "{'Cmd':['kube-apiserver','--encryption-provider-config=/p']}");
    /* Changed in its place, by its name, in whatever form it was. */
    set("{'Entrypoint':['k','--encryption-provider-config=/o','--c=d']}", "/p",
        "{'Entrypoint':['k','--encryption-provider-config=/p','--c=d']}");
    set("{'Entrypoint':['k','--a','b','--encryption-provider-config','/o','--c=d']}", "/p",
        "{'Entrypoint':['k','--a','b','--encryption-provider-config=/p','--c=d']}");
    set("{'Entrypoint':['k','--experimental-encryption-provider-config=/o','--c=d']}", "/p",
        "{'Entrypoint':['k','--experimental-encryption-provider-config=/p','--c=d']}");
    set("{'Entrypoint':['k','--encryption-provider-config=/o','--encryption-provider-config=/x',"
        "'--encryption-provider-config-automatic-reload=true']}",
        "/p",
        "{'Entrypoint':['k','--encryption-provider-config=/p',"
        "'--encryption-provider-config-automatic-reload=true']}");
    /* Away, with the one that can't stand alone. */
    set("{'Entrypoint':['k','--a=b','--encryption-provider-config','/"
        "o','--c'],'Cmd':['--encryption-"
        "provider-config-automatic-reload','--experimental-encryption-provider-config=/x']}",
        NULL, "{'Entrypoint':['k','--a=b','--c'],'Cmd':[]}");
    set("{'Entrypoint':['k','--encryption-provider-config','--c=d']}", NULL,
        "{'Entrypoint':['k','--c=d']}");
    set("{'Entrypoint':['k','--a=b'],'Cmd':null}", NULL, "{'Entrypoint':['k','--a=b'],'Cmd':null}");

    struct error err CLEANUP(error_clear) = {0};
    json_auto_t *script = json("{'Entrypoint':['sh','-c'],'Cmd':['exec kube-apiserver --a=b']}");
    assert_int_equal(settings_set_config_flag(script, "/p", &err), -1);
    assert_int_equal(err.result, RESULT_REFUSED);
}

static void create(const char *inspected, const char *inherited, const char *body,
                   const char *networks)
{
    struct error err CLEANUP(error_clear) = {0};
    json_auto_t *i = json(inspected);
    json_auto_t *before = json_deep_copy(i);
    json_auto_t *have = json(inherited);
    json_auto_t *expected = json(body);
    json_auto_t *expected_networks = json(networks);
    json_auto_t *b = NULL;
    json_auto_t *n = NULL;
    assert_int_equal(settings_for_create(i, "image:1", have, &b, &n, &err), 0);
    if (!json_equal(b, expected))
        fail_msg("%s", json_dumps(b, 0));
    if (!json_equal(n, expected_networks))
        fail_msg("%s", json_dumps(n, 0));
    assert_true(json_equal(i, before));
}

#define NO_POLICY "'RestartPolicy':{'Name':'no','MaximumRetryCount':0}"

static void test_create(void **state)
{
    (void)state;
    create(
        "{'Config':{'Image':'x','Hostname':'h','Unknown':[1]},'HostConfig':{'NetworkMode':'host',"
        "'Later':{},'RestartPolicy':{'Name':'always'}},"
        "'NetworkSettings':{'Networks':{'host':{'Aliases':null}}}}",
        "{}",
        "{'Image':'image:1','Hostname':'h','Unknown':[1],'HostConfig':{'NetworkMode':'host',"
        "'Later':{}," NO_POLICY "}}",
        "{}");
    create("{'Config':{'Hostname':'h','Domainname':''},'HostConfig':{'NetworkMode':'host',"
           "'UTSMode':'host'}}",
           "{}",
           "{'Image':'image:1','HostConfig':{'NetworkMode':'host','UTSMode':'host'," NO_POLICY "}}",
           "{}");
    create("{'Config':{'Hostname':'h','ExposedPorts':{}},'HostConfig':{'NetworkMode':'container:a',"
           "'Links':['/db:/kube-apiserver/data','x']}}",
           "{}",
           "{'Image':'image:1','HostConfig':{'NetworkMode':'container:a',"
           "'Links':['db:data','x']," NO_POLICY "}}",
           "{}");
    /* The network that it was made with, and others; found addresses are left out. */
    create("{'Id':'0123456789abcdef','Config':{},'HostConfig':{'NetworkMode':'one'},"
           "'NetworkSettings':{'Networks':{'one':{'IPAMConfig':{'IPv4Address':'10.0.0.9'},"
           "'IPAddress':'10.0.0.9','Aliases':['api','0123456789ab'],'DriverOpts':null},"
           "'two':{'IPAMConfig':null,'Aliases':['0123456789ab'],'DriverOpts':{'a':'b'}},"
           "'bridge':{'IPAddress':'172.17.0.2'}}}}",
           "{}",
           "{'Image':'image:1','HostConfig':{'NetworkMode':'one'," NO_POLICY "},"
           "'NetworkingConfig':{'EndpointsConfig':{'one':{'IPAMConfig':{'IPv4Address':'10.0.0.9'},"
           "'Aliases':['api']}}}}",
           "{'two':{'DriverOpts':{'a':'b'}},'bridge':{}}");
    create("{'Id':'0','Config':{},'HostConfig':{'NetworkMode':'default'},"
           "'NetworkSettings':{'Networks':{'bridge':{'IPAddress':'172.17.0.2'}}}}",
           "{}", "{'Image':'image:1','HostConfig':{'NetworkMode':'default'," NO_POLICY "}}", "{}");
    /* Volumes: bound, inherited, asked for by Mounts with and without a name, anonymous. */
    create("{'Config':{'Volumes':{'/an':{}}},'HostConfig':{'NetworkMode':'none',"
           "'Binds':['named:/b','/host:/h:z'],'Mounts':[{'Type':'volume','Target':'/m'},"
           "{'Type':'volume','Source':'s','Target':'/n'}]},'Mounts':["
           "{'Type':'volume','Name':'named','Destination':'/b','RW':true},"
           "{'Type':'bind','Source':'/host','Destination':'/h','RW':true},"
           "{'Type':'volume','Name':'1111','Destination':'/m','RW':true},"
           "{'Type':'volume','Name':'s','Destination':'/n','RW':true},"
           "{'Type':'volume','Name':'2222','Destination':'/an','RW':true},"
           "{'Type':'volume','Name':'3333','Destination':'/ro','RW':false},"
           "{'Type':'volume','Name':'4444','Destination':'/from','RW':true}]}",
           "{'/from':true}",
           "{'Image':'image:1','Volumes':{'/an':{}},'HostConfig':{'NetworkMode':'none',"
           "'Binds':['named:/b','/host:/h:z','2222:/an','3333:/ro:ro'],"
           "'Mounts':[{'Type':'volume','Target':'/m','Source':'1111'},"
           "{'Type':'volume','Source':'s','Target':'/n'}]," NO_POLICY "}}",
           "{}");

    struct error err CLEANUP(error_clear) = {0};
    json_auto_t *removed = json("{'Config':{},'HostConfig':{'AutoRemove':true}}");
    json_auto_t *nothing = json("{}");
    json_t *body = NULL;
    json_t *networks = NULL;
    assert_int_equal(settings_for_create(removed, "i", NULL, &body, &networks, &err), -1);
    assert_int_equal(err.result, RESULT_REFUSED);
    assert_int_equal(settings_for_create(nothing, "i", NULL, &body, &networks, &err), -1);
    assert_null(body);
    assert_null(networks);
}

static void test_bind(void **state)
{
    (void)state;
    json_auto_t *i =
        json("{'Mounts':[{'Type':'bind','Source':'/opt/k','Destination':'/etc/kubernetes'},"
             "{'Type':'bind','Source':'/other','Destination':'/etc/kubernetes/enc/'},"
             "{'Type':'volume','Name':'v','Source':'/x','Destination':'/etc/kubernetes/vol'},"
             "{'Type':'bind','Source':'/f','Destination':'/etc/kubernetes/one.yaml'},"
             "{'Type':'bind','Source':'/a:b','Destination':'/colon'}]}");
    static const struct {
        const char *path, *bind;
    } cases[] = {
        {"/etc/kubernetes/ssl/a", "/opt/k:/etc/kubernetes"},
        {"/etc/kubernetes/a", "/opt/k:/etc/kubernetes"},
        {"/etc/kubernetes/enc/a", "/other:/etc/kubernetes/enc/"},
        {"/etc/kubernetes2/a", NULL},
        {"/etc/kubernetes/vol/a", NULL},
        {"/etc/kubernetes/one.yaml", NULL},
        {"/etc/kubernetes/one.yaml2", "/opt/k:/etc/kubernetes"},
        {"/etc/kubernetes/../a", NULL},
        {"/colon/a", NULL},
        {"/a", NULL},
        {"etc/kubernetes/a", NULL},
    };
    for (size_t k = 0; k < ARRAY_LEN(cases); k++) {
        struct error err CLEANUP(error_clear) = {0};
        char *bind CLEANUP(cleanup_mem) = settings_bind_for(i, cases[k].path, &err);
        assert_true(str_eq(bind, cases[k].bind));
        assert_true(bind ? !err.message : err.message && err.next && err.result == RESULT_REFUSED);
    }
}

static void test_paths(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"/", "/"},
        {"//", "/"},
        {"/a", "/a"},
        {"/a/", "/a"},
        {"//a//b/", "/a/b"},
        {"/a/./b", "/a/b"},
        {"/a/../b", "/b"},
        {"/../../a", "/a"},
        {"/a/b/..", "/a"},
        {"/a/..", "/"},
        {"/..a/b..", "/..a/b.."},
        {"/a/...", "/a/..."},
        {"volume", "volume"},
        {"", ""},
        {"a/../b", "a/../b"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char *clean CLEANUP(cleanup_mem) = path_clean(cases[i][0]);
        assert_string_equal(clean, cases[i][1]);
    }
    assert_true(path_is_below("/a/b", "/a") && path_is_below("/a", "/a/") &&
                path_is_below("/a", "/"));
    assert_false(path_is_below("/ab", "/a") || path_is_below("/", "/a"));
    char *host CLEANUP(cleanup_mem) = bind_host("/h//x/:/c/:ro");
    char *container CLEANUP(cleanup_mem) = bind_container("/h//x/:/c/:ro");
    assert_string_equal(host, "/h/x");
    assert_string_equal(container, "/c");
    static char *const binds[] = {"/1:/a", "/2:/a/b/", "/3:/a/bc", "v:/d:z", NULL};
    assert_string_equal(bind_holding(binds, "/a/b/sock"), "/2:/a/b/");
    assert_string_equal(bind_holding(binds, "/a/x"), "/1:/a");
    assert_string_equal(bind_holding(binds, "/d"), "v:/d:z");
    assert_null(bind_holding(binds, "/x"));
    assert_null(bind_holding(NULL, "/x"));
}

/* Those that are missing are added as they are written, and none is removed. */
static void test_add_binds(void **state)
{
    (void)state;
    json_auto_t *i = json(
        "{'Mounts':[{'Type':'bind','Source':'/etc/kubernetes','Destination':'/etc/kubernetes'},"
        "{'Type':'volume','Name':'v','Source':'/x','Destination':'/vol'},"
        "{'Type':'tmpfs','Source':'','Destination':'/t'}]}");
    static const struct {
        char *binds[4];
        const char *list; /* HostConfig.Binds then; NULL: refused */
    } cases[] = {
        {{NULL}, "['k']"},
        {{"/etc/kubernetes/:/etc//kubernetes:z", "v:/vol", NULL}, "['k']"},
        {{"/kms:/kms:ro,z", "/kms2/:/kms2/", NULL}, "['k','/kms:/kms:ro,z','/kms2/:/kms2/']"},
        {{"/kms:/etc/kubernetes/kms", NULL}, "['k','/kms:/etc/kubernetes/kms']"},
        {{"/kms:/kms", "/opt/kubernetes:/etc/kubernetes", NULL}, NULL},
        {{"/x:/vol", NULL}, NULL},
        {{"w:/vol", NULL}, NULL},
        {{"/kms:/t", NULL}, NULL},
    };
    for (size_t k = 0; k < ARRAY_LEN(cases); k++) {
        struct error err CLEANUP(error_clear) = {0};
        json_auto_t *body = json("{'HostConfig':{'Binds':['k']}}");
        int rc = settings_add_binds(i, cases[k].binds, body, &err);
        assert_int_equal(rc, cases[k].list ? 0 : -1);
        if (!cases[k].list) {
            assert_int_equal(err.result, RESULT_REFUSED);
            assert_non_null(err.next);
            continue;
        }
        json_auto_t *list = json(cases[k].list);
        assert_true(
            json_equal(list, json_object_get(json_object_get(body, "HostConfig"), "Binds")));
    }
    struct error err CLEANUP(error_clear) = {0};
    json_auto_t *without = json("{'HostConfig':{'Binds':null}}");
    json_auto_t *expected = json("{'HostConfig':{'Binds':['/kms:/kms']}}");
    static char *const one[] = {"/kms:/kms", NULL};
    assert_int_equal(settings_add_binds(i, NULL, without, &err), 0);
    assert_int_equal(settings_add_binds(i, one, without, &err), 0);
    assert_true(json_equal(without, expected));
}

static void test_log_frames(void **state)
{
    (void)state;
    static const char frames[] = "\1\0\0\0\0\0\0\5one\n\0\2\0\0\0\0\0\0\4two\n\1\0\0\0\0\0\1\0cut";
    struct buf out CLEANUP(buf_free) = {0};
    docker_log_frames(&out, frames, sizeof(frames) - 1);
    assert_int_equal(out.len, 12);
    assert_memory_equal(out.data, "one\n\0two\ncut", 12);
    for (size_t len = 0; len < sizeof(frames); len++) {
        char *exact CLEANUP(cleanup_mem) = mem_alloc(len, 1);
        memcpy(exact, frames, len);
        buf_reset(&out);
        docker_log_frames(&out, exact, len);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_flag),      cmocka_unit_test(test_create),
        cmocka_unit_test(test_bind),      cmocka_unit_test(test_paths),
        cmocka_unit_test(test_add_binds), cmocka_unit_test(test_log_frames),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
