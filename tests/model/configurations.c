/*
 * The configurations that the model goes from and to. Every ordered pair is a transition, a
 * configuration to itself included. A new kind of configuration (a provider, an order of entries, a
 * wildcard) gets its line here.
 */
#include "tests/model/transition.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ITEM(resources, providers) "- resources: [" resources "]\n  providers: [" providers "]\n"
#define A1 "{name: k1, secret: QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE=}"
#define A2 "{name: k2, secret: QkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkI=}"
#define A3 "{name: k3, secret: Q0NDQ0NDQ0NDQ0NDQ0NDQ0NDQ0NDQ0NDQ0NDQ0NDQ0M=}"
#define CBC(keys) "{aescbc: {keys: [" keys "]}}"
#define GCM(keys) "{aesgcm: {keys: [" keys "]}}"
#define BOX(keys) "{secretbox: {keys: [" keys "]}}"
#define KMS1(name) "{kms: {name: " name ", endpoint: 'unix:///" name "'}}"
#define KMS2(name) "{kms: {apiVersion: v2, name: " name ", endpoint: 'unix:///" name "'}}"
#define ID "{identity: {}}"

const struct configuration configurations[] = {
    {"none", ""},
    {"identity", ITEM("secrets", ID)},
    {"managed k1", ITEM("secrets", CBC(A1) ", " ID)},
    {"managed k2", ITEM("secrets", CBC(A2) ", " ID)},
    {"managed k1,k2", ITEM("secrets", CBC(A1 ", " A2) ", " ID)},
    {"managed k2,k1", ITEM("secrets", CBC(A2 ", " A1) ", " ID)},
    {"managed k1,k2,k3", ITEM("secrets", CBC(A1 ", " A2 ", " A3) ", " ID)},
    {"identity, k1", ITEM("secrets", ID ", " CBC(A1))},
    {"identity, k1,k2", ITEM("secrets", ID ", " CBC(A1 ", " A2))},
    {"k1 without identity", ITEM("secrets", CBC(A1))},
    {"k2 without identity", ITEM("secrets", CBC(A2))},
    {"k1 and k2 in two entries", ITEM("secrets", CBC(A1) ", " CBC(A2) ", " ID)},
    {"k2, identity, k1 in two entries", ITEM("secrets", CBC(A2) ", " ID ", " CBC(A1))},
    {"k1 and k2 in two items", ITEM("secrets", CBC(A1)) ITEM("secrets", CBC(A2) ", " ID)},
    {"aesgcm k1", ITEM("secrets", GCM(A1) ", " ID)},
    {"aesgcm k2", ITEM("secrets", GCM(A2) ", " ID)},
    {"aesgcm k1, aescbc k1", ITEM("secrets", GCM(A1) ", " CBC(A1) ", " ID)},
    {"secretbox k1", ITEM("secrets", BOX(A1) ", " ID)},
    {"secretbox k2, identity first", ITEM("secrets", ID ", " BOX(A2))},
    {"aescbc k1, secretbox k2", ITEM("secrets", CBC(A1) ", " BOX(A2) ", " ID)},
    {"secretbox k2, aescbc k1", ITEM("secrets", BOX(A2) ", " CBC(A1) ", " ID)},
    {"all local types", ITEM("secrets", CBC(A1) ", " GCM(A2) ", " BOX(A3) ", " ID)},
    {"secrets k1, configmaps box k2",
     ITEM("secrets", CBC(A1) ", " ID) ITEM("configmaps", BOX(A2) ", " ID)},
    {"secrets box k2, configmaps k1",
     ITEM("secrets", BOX(A2) ", " ID) ITEM("configmaps", CBC(A1) ", " ID)},
    {"secrets and configmaps k1", ITEM("secrets, configmaps", CBC(A1) ", " ID)},
    {"secrets and configmaps k2", ITEM("secrets, configmaps", CBC(A2) ", " ID)},
    {"configmaps k1", ITEM("configmaps", CBC(A1) ", " ID)},
    {"configmaps k3 without identity", ITEM("configmaps", CBC(A3))},
    {"secrets k1, configmaps identity", ITEM("secrets", CBC(A1) ", " ID) ITEM("configmaps", ID)},
    {"kms v1 a", ITEM("secrets", KMS1("a") ", " ID)},
    {"kms v1 b, aescbc k1", ITEM("secrets", KMS1("b") ", " CBC(A1) ", " ID)},
    {"kms v1 a, b", ITEM("secrets", KMS1("a") ", " KMS1("b"))},
    {"kms v2 c", ITEM("secrets", KMS2("c") ", " ID)},
    {"kms v2 c for two", ITEM("secrets, configmaps", KMS2("c") ", " ID)},
    {"kms v2 c, d", ITEM("secrets", KMS2("c") ", " ID) ITEM("configmaps", KMS2("d") ", " ID)},
    {"*.* k1", ITEM("'*.*'", CBC(A1) ", " ID)},
    {"secrets k2, *.* k1", ITEM("secrets", CBC(A2) ", " ID) ITEM("'*.*'", CBC(A1) ", " ID)},
};
const size_t configuration_count = ARRAY_LEN(configurations);

struct encryption_config *read_config(const char *items)
{
    struct error err CLEANUP(error_clear) = {0};
    struct encryption_config *c = NULL;
    char *text CLEANUP(cleanup_mem) =
        *items ? mem_printf("apiVersion: apiserver.config.k8s.io/v1\n"
                            "kind: EncryptionConfiguration\nresources:\n%s",
                            items)
               : mem_strdup("");
    if (encryption_config_read(text, strlen(text), "model", ENCRYPTION_LENIENT, &c, &err) != 0) {
        fprintf(stderr, "%s\n", err.message);
        exit(2);
    }
    return c;
}
