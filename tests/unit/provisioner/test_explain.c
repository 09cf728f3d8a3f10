#include "base/buf.h"
#include "provisioner/explain.h"
#include "provisioner/node.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

struct line {
    const char *log, *means; /* a part of it */
};

/* What kube-apiserver 1.20.2 really said when it was started with each of these faults. */
static const struct line seen[] = {
    {"Error: error while parsing encryption provider configuration file "
     "\"/etc/kubernetes/ssl/encryption.yaml\": error while parsing file: "
     "resources[0].providers[0].aescbc.keys[0].secret: Invalid value: \"REDACTED\": secret is not "
     "of the expected length, got 20, expected one of [16 24 32]",
     "wrong length"},
    {"Error: error while parsing encryption provider configuration file "
     "\"/etc/kubernetes/ssl/encryption.yaml\": error while parsing file: "
     "resources[0].providers[0].aesgcm.keys[0].secret: Invalid value: \"REDACTED\": secret is not "
     "of the expected length, got 20, expected one of [16 24 32]",
     "wrong length"},
    {"Error: error while parsing encryption provider configuration file "
     "\"/etc/kubernetes/ssl/encryption.yaml\": error while parsing file: "
     "resources[0].providers[0].secretbox.keys[0].secret: Invalid value: \"REDACTED\": secret is "
     "not of the expected length, got 20, expected one of [32]",
     "wrong length"},
    {"Error: error while parsing encryption provider configuration file "
     "\"/etc/kubernetes/ssl/encryption.yaml\": error while parsing file: "
     "resources[0].providers[0].aescbc.keys[0].secret: Invalid value: \"REDACTED\": secrets must "
     "be base64 encoded",
     "not base64"},
    {"Error: error while parsing encryption provider configuration file "
     "\"/etc/kubernetes/ssl/encryption.yaml\": error while parsing file: "
     "resources[0].providers[0].aescbc.keys[0].name: Required value: name is a mandatory field for "
     "a key",
     "no name"},
    {"Error: error while parsing encryption provider configuration file "
     "\"/etc/kubernetes/ssl/encryption.yaml\": error while parsing file: "
     "resources[0].providers[0].aescbc.keys[0].secret: Required value: secret is a mandatory field "
     "for a key",
     "no secret"},
    {"Error: error while parsing encryption provider configuration file "
     "\"/etc/kubernetes/ssl/encryption.yaml\": error while parsing file: "
     "resources[0].providers[0].aescbc.keys: Required value: at least one keys is required",
     "has no key"},
    {"Error: error while parsing encryption provider configuration file "
     "\"/etc/kubernetes/ssl/encryption.yaml\": error while parsing file: "
     "resources[0].providers[0]: Invalid value: "
     "config.ProviderConfiguration{AESGCM:(*config.AESConfiguration)(nil), "
     "AESCBC:(*config.AESConfiguration)(nil), Secretbox:(*config.SecretboxConfiguration)(nil), "
     "Identity:(*config.IdentityConfiguration)(nil), KMS:(*config.KMSConfiguration)(nil)}: "
     "provider does not contain any of the expected providers: KMS, AESGCM, AESCBC, Secretbox, "
     "Identity",
     "does not know, or an entry"},
    {"Error: error while parsing encryption provider configuration file "
     "\"/etc/kubernetes/ssl/encryption.yaml\": error while parsing file: "
     "resources[0].providers[0]: Invalid value: "
     "config.ProviderConfiguration{AESGCM:(*config.AESConfiguration)(nil), "
     "AESCBC:(*config.AESConfiguration)(0xc0005ba6c0), "
     "Secretbox:(*config.SecretboxConfiguration)(0xc0005ba6d8), "
     "Identity:(*config.IdentityConfiguration)(nil), KMS:(*config.KMSConfiguration)(nil)}: more "
     "than one provider specified in a single element, should split into different list elements",
     "two providers"},
    {"Error: error while parsing encryption provider configuration file "
     "\"/etc/kubernetes/ssl/encryption.yaml\": error while parsing file: resources[0].providers: "
     "Required value: at least one resources[0].providers is required",
     "no provider for"},
    {"Error: error while parsing encryption provider configuration file "
     "\"/etc/kubernetes/ssl/encryption.yaml\": error while parsing file: resources: Required "
     "value: at least one resources is required",
     "names no resource"},
    {"Error: error while parsing encryption provider configuration file "
     "\"/etc/kubernetes/ssl/encryption.yaml\": error while parsing file: no kind "
     "\"EncryptionConfiguratio\" is registered for version \"apiserver.config.k8s.io/v1\" in "
     "scheme \"k8s.io/apiserver/pkg/server/options/encryptionconfig/config.go:208\"",
     "kind and apiVersion"},
    {"Error: error while parsing encryption provider configuration file "
     "\"/etc/kubernetes/ssl/encryption.yaml\": error while parsing file: no kind "
     "\"EncryptionConfiguration\" is registered for version \"apiserver.config.k8s.io/v9\" in "
     "scheme \"k8s.io/apiserver/pkg/server/options/encryptionconfig/config.go:208\"",
     "kind and apiVersion"},
    {"Error: error while parsing encryption provider configuration file "
     "\"/etc/kubernetes/ssl/encryption.yaml\": error while parsing file: Object 'Kind' is missing "
     "in 'resources: []",
     "empty or has no kind"},
    {"Error: error while parsing encryption provider configuration file "
     "\"/etc/kubernetes/ssl/encryption.yaml\": error while parsing file: Object 'Kind' is missing "
     "in ''",
     "empty or has no kind"},
    {"Error: error while parsing encryption provider configuration file "
     "\"/etc/kubernetes/ssl/encryption.yaml\": error while parsing file: yaml: line 1: did not "
     "find expected node content",
     "is no YAML"},
    {"Error: error while parsing encryption provider configuration file "
     "\"/etc/kubernetes/ssl/encryption.yaml\": error while parsing file: "
     "resources[0].providers[0].kms.endpoint: Invalid value: \"http://x/y\": unsupported scheme "
     "\"http\" for KMS provider, only unix is supported",
     "not a Unix socket"},
    {"Error: error while parsing encryption provider configuration file "
     "\"/etc/kubernetes/ssl/encryption.yaml\": error while parsing file: "
     "resources[0].providers[0].kms.name: Required value: name is a mandatory field for a provider",
     "a kms provider in the encryption configuration has no name"},
    {"Error: error while parsing encryption provider configuration file "
     "\"/etc/kubernetes/ssl/encryption.yaml\": error while parsing file: "
     "resources[0].providers[0].kms.endpoint: Invalid value: \"\": endpoint is a mandatory field "
     "for a kms",
     "no endpoint"},
    {"Error: error opening encryption provider configuration file "
     "\"/etc/kubernetes/ssl/nosuch.yaml\": open /etc/kubernetes/ssl/nosuch.yaml: no such file or "
     "directory",
     "doesn't find the encryption configuration"},
    {"Error: error while parsing encryption provider configuration file \"/etc/kubernetes/ssl\": "
     "could not read contents: read /etc/kubernetes/ssl: is a directory",
     "can't be read"},
    {"Error: unknown flag: --encryption-provider-config-automatic-reload", "no automatic reload"},
    {"Error: invalid argument \"abc\" for \"-v, --v\" flag: strconv.ParseInt: parsing \"abc\": "
     "invalid syntax",
     "wrong value"},
    {"Error: failed to create listener: failed to listen on 0.0.0.0:6443: listen tcp 0.0.0.0:6443: "
     "bind: address already in use",
     "port"},
    {"Error: open /etc/kubernetes/ssl/nosuch.pem: no such file or directory", "certificate or key"},
    {"Error: tls: private key does not match public key", "don't belong together"},
    {"E1122 04:24:16.371783     281 grpc_service.go:76] failed to create connection to unix "
     "socket: /etc/kubernetes/nosuch.sock, error: dial unix /etc/kubernetes/nosuch.sock: connect: "
     "no such file or directory",
     "no such KMS socket"},
    {"W1122 04:25:06.303267     373 clientconn.go:1223] grpc: addrConn.createTransport failed to "
     "connect to {https://127.0.0.1:2999  <nil> 0 <nil>}. Err :connection error: desc = "
     "\"transport: Error while dialing dial tcp 127.0.0.1:2999: connect: connection refused\". "
     "Reconnecting...",
     "nothing listens there"},
    {"W1122 04:32:13.662259     451 clientconn.go:1223] grpc: addrConn.createTransport failed to "
     "connect to {https://10.99.44.11:2379  <nil> 0 <nil>}. Err :connection error: desc = "
     "\"transport: authentication handshake failed: x509: certificate signed by unknown "
     "authority\". Reconnecting...",
     "certificate is not accepted"},
    {"Error: context deadline exceeded", "did not answer in time"},
    {"E1122 04:32:56.237104     460 cacher.go:419] cacher (*core.Secret): unexpected ListAndWatch "
     "error: failed to list *core.Secret: unable to transform key "
     "\"/registry/secrets/ghost/orphan\": no matching prefix found; reinitializing...",
     "no key of the configuration reads"},
    {"E1122 04:42:46.241511       1 cacher.go:419] cacher (*core.Secret): unexpected ListAndWatch "
     "error: failed to list *core.Secret: unable to transform key \"/registry/secrets/zz/broken\": "
     "the stored data is not a multiple of the block size; reinitializing...",
     "object that the line names is damaged"},
};

/* From the sources of other versions. */
static const struct line read[] = {
    {"E0101 00:00:00.000000       1 run.go:74] \"command failed\" err=\"error while parsing "
     "encryption provider configuration file \\\"/e.yaml\\\": error while parsing file: strict "
     "decoding error: unknown field \\\"resources[0].providers[3].kms.pandas\\\"\"",
     "field that kube-apiserver does not know"},
    {"E0101 00:00:00.000000       1 run.go:74] \"command failed\" err=\"error while parsing "
     "encryption provider configuration file \\\"/e.yaml\\\": error while parsing file: strict "
     "decoding error: yaml: unmarshal errors:\\n  line 12: key \\\"apiVersion\\\" already set in "
     "map\"",
     "stands twice"},
    {"E0101 00:00:00.000000       1 run.go:74] \"command failed\" err=\"error while parsing "
     "encryption provider configuration file \\\"/e.yaml\\\": error while parsing file: no kind "
     "\\\"X\\\" is registered for version \\\"v1\\\" in scheme "
     "\\\"k8s.io/apiserver/pkg/server/options/encryptionconfig/config.go:65\\\"\"",
     "kind and apiVersion"},
    {"\"command failed\" err=\"KMSv1 is deprecated and will only receive security updates going "
     "forward. Use KMSv2 instead.  Set --feature-gates=KMSv1=true to use the deprecated KMSv1 "
     "feature.\"",
     "KMS v1 is off"},
    {"\"command failed\" err=\"could not configure KMSv2 plugin \\\"vault\\\", KMSv2 feature is "
     "not enabled\"",
     "KMS v2 is off"},
    {"resources[0].providers[1].kms.name: Invalid value: \"foo\": duplicate KMS provider name foo, "
     "names must be unique",
     "share a name"},
    {"error while parsing encryption provider configuration file \"/e.yaml\": error while parsing "
     "file: something new",
     "refuses the encryption configuration"},
    {"Error: unknown flag: --encryption-provider-config", "too old"},
    {"Error: unknown flag: --experimental-encryption-provider-config", "too new"},
    {"Error: unknown flag: --insecure-port", "one of its flags"},
    {"fatal error: runtime: out of memory", "no memory"},
    {"rpc error: code = ResourceExhausted desc = etcdserver: mvcc: database space exceeded",
     "out of space"},
    {"failed to perform encrypt section of the healthz check for KMS Provider vault, error: rpc "
     "error",
     "can't encrypt or decrypt"},
    {"E0101 00:00:00.000000       1 grpc_service.go:71] \"failed to create connection to unix "
     "socket\" err=\"dial unix /run/kms.sock: connect: connection refused\" addr=\"/run/kms.sock\"",
     "does not answer at its socket"},
};

static void assert_means(const char *log, const char *means)
{
    const struct log_meaning *m = log_meaning(log);
    if (!m || !strstr(m->means, means))
        fail_msg("\"%s\" is explained as \"%s\", not as \"%s\"", log, m ? m->means : "nothing",
                 means);
    assert_true(m->todo[0] != '\0');
}

static void test_real_lines(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(seen); i++)
        assert_means(seen[i].log, seen[i].means);
}

static void test_lines_of_other_versions(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(read); i++)
        assert_means(read[i].log, read[i].means);
}

/* None of them is taken for one that may hold a key. */
static void test_lines_are_safe(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(seen); i++) {
        struct buf out CLEANUP(buf_free) = {0};
        log_add_safe_lines(&out, seen[i].log, strlen(seen[i].log));
        assert_means(buf_str(&out), seen[i].means);
    }
}

/* Wherever it stands among others; the words of one entry in two lines are none. */
static void test_among_others(void **state)
{
    (void)state;
    const char *before = "I1122 04:23:49.197700     127 server.go:632] external host was not "
                         "specified, using 10.99.44.11\n"
                         "I1122 04:23:49.198147     127 server.go:182] Version: v1.20.2\n";
    for (size_t i = 0; i < ARRAY_LEN(seen); i++) {
        char *log CLEANUP(cleanup_mem) =
            mem_printf("%s%s\n(1 line that may hold a key left out)\n", before, seen[i].log);
        assert_means(log, seen[i].means);
    }
    assert_null(log_meaning(before));
    assert_null(log_meaning("strict decoding error\nunknown field\n"));
    assert_null(log_meaning(""));
    assert_null(log_meaning(NULL));
}

/* etcd can't be reached for a moment at many a start: what ends the apiserver counts. */
static void test_the_cause_before_the_noise(void **state)
{
    (void)state;
    char *log CLEANUP(cleanup_mem) =
        mem_printf("W1122 clientconn.go:1223] grpc: addrConn.createTransport failed to connect to "
                   "{https://10.0.0.1:2379}. Err :connection error: desc = \"transport: Error "
                   "while dialing dial tcp 10.0.0.1:2379: connect: connection refused\"\n%s\n",
                   seen[0].log);
    assert_means(log, seen[0].means);
}

/* What is advised where keys and values are in question takes nothing away for good. */
static void test_no_advice_destroys(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "E1122 reflector.go:138] Failed to watch *v1.Secret: unexpected ListAndWatch error: "
        "unable to transform key \"/registry/secrets/a/b\": invalid padding on input",
        "unexpected ListAndWatch error: data from the storage is not transformable"};
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        const struct log_meaning *m = log_meaning(lines[i]);
        assert_non_null(m);
        assert_null(strstr(m->todo, "etcdctl"));
        assert_non_null(strstr(m->todo, "encrypt doctor"));
    }
    for (size_t i = 0; i < ARRAY_LEN(seen); i++) {
        const struct log_meaning *m = log_meaning(seen[i].log);
        if (strstr(m->todo, "urandom"))
            assert_non_null(strstr(m->todo, "put that key's own secret back"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_real_lines),
        cmocka_unit_test(test_lines_of_other_versions),
        cmocka_unit_test(test_lines_are_safe),
        cmocka_unit_test(test_among_others),
        cmocka_unit_test(test_the_cause_before_the_noise),
        cmocka_unit_test(test_no_advice_destroys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
