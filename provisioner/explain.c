#include "provisioner/explain.h"

#include "base/mem.h"

#include <stdbool.h>
#include <string.h>

enum { WORDS = 3 };

/* A fresh secret under a name that is in use makes all that is stored under it unreadable. */
#define PUT_BACK                                                                                   \
    "put that key's own secret back, from another node's configuration or from the state file; a " \
    "fresh secret (head -c 32 /dev/urandom | base64) only under a name that there has never been"
#define ANOTHER_SECRET                                                                             \
    "delete nothing: first encrypt doctor. The likelier cause is that this node's configuration "  \
    "has another secret under a key's name than the other nodes' (give it theirs); only what "     \
    "no kube-apiserver reads is damaged, and is put back from a backup"

struct entry {
    const char *words[WORDS]; /* all in one line, in any order */
    struct log_meaning meaning;
};

/* Texts of 1.20.2 were seen; those marked (read) are in the sources of other versions. */
static const struct entry entries[] = {
    /* ---- the configuration ---- */
    {{"secret is not of the expected length"},
     {"a key in the encryption configuration has a wrong length: aescbc and aesgcm take 16, 24 or "
      "32 bytes, secretbox takes 32",
      PUT_BACK}},
    {{"error while creating cipher for named key"}, /* (read) before 1.16 */
     {"a key in the encryption configuration has a wrong length: aescbc and aesgcm take 16, 24 or "
      "32 bytes, secretbox takes 32",
      PUT_BACK}},
    {{"expected key size 32 for secretbox"}, /* (read) before 1.16 */
     {"a secretbox key in the encryption configuration is not 32 bytes long", PUT_BACK}},
    {{"secrets must be base64 encoded"},
     {"a key in the encryption configuration is not base64", PUT_BACK}},
    {{"could not obtain secret for named key"}, /* (read) before 1.16 */
     {"a key in the encryption configuration is not base64", PUT_BACK}},
    {{"secret is a mandatory field for a key"},
     {"a key in the encryption configuration has no secret", PUT_BACK}},
    {{"name is a mandatory field for a key"},
     {"a key in the encryption configuration has no name, or an empty one", "give it a name"}},
    {{"at least one keys is required"},
     {"a provider in the encryption configuration has no key", "give it a key, or take it out"}},
    {{"strict decoding error", "already set"}, /* (read) 1.31 and later */
     {"a field stands twice in the encryption configuration, which kube-apiserver 1.31 and later "
      "refuse",
      "take one of the two out (RKE's own custom files have apiVersion and kind twice)"}},
    {{"strict decoding error", "unknown field"}, /* (read) 1.31 and later */
     {"the encryption configuration has a field that kube-apiserver does not know, which 1.31 and "
      "later refuse",
      "correct its name or indentation, or take it out"}},
    {{"no kind ", "is registered for version"},
     {"this version of kube-apiserver does not know the configuration's kind and apiVersion",
      "from 1.13 on it is EncryptionConfiguration in apiserver.config.k8s.io/v1, before that "
      "EncryptionConfig in v1"}},
    {{"no kind ", "is registered for the internal version"}, /* (read) */
     {"this version of kube-apiserver does not know the configuration's kind and apiVersion",
      "from 1.13 on it is EncryptionConfiguration in apiserver.config.k8s.io/v1, before that "
      "EncryptionConfig in v1"}},
    {{"encryption provider configuration file", "Object 'Kind' is missing"},
     {"the encryption configuration is empty or has no kind",
      "it begins with kind: EncryptionConfiguration and apiVersion: apiserver.config.k8s.io/v1"}},
    {{"encryption provider configuration file", "is empty"}, /* (read) 1.25 and later */
     {"the encryption configuration is empty",
      "it begins with kind: EncryptionConfiguration and apiVersion: apiserver.config.k8s.io/v1"}},
    {{"provider does not contain any of the expected providers"},
     {"the encryption configuration names a provider that this version of kube-apiserver does not "
      "know, or an entry without one",
      "the providers are identity, aescbc, aesgcm, secretbox and kms"}},
    {{"more than one provider specified in a single element"},
     {"two providers stand in one entry of the encryption configuration",
      "begin each provider with a dash of its own"}},
    {{"].providers is required"},
     {"the encryption configuration gives no provider for a resource",
      "the providers are identity, aescbc, aesgcm, secretbox and kms"}},
    {{"at least one resources is required"},
     {"the encryption configuration names no resource", "name one, as secrets"}},
    {{"could not configure KMSv2", "feature is not enabled"}, /* (read) 1.25, 1.26 */
     {"KMS v2 is off in this version of kube-apiserver",
      "from 1.27 on it is on; 1.25 and 1.26 want --feature-gates=KMSv2=true"}},
    {{"KMSv1 is deprecated", "--feature-gates=KMSv1=true"}, /* (read) 1.29 and later */
     {"KMS v1 is off in this version of kube-apiserver",
      "give it --feature-gates=KMSv1=true, or go over to KMS v2"}},
    {{"unsupported KMS API version"}, /* (read) */
     {"the encryption configuration names a KMS version that kube-apiserver does not know",
      "apiVersion of a kms provider is v1 or v2"}},
    {{"kms.endpoint", "unsupported scheme"},
     {"the KMS endpoint is not a Unix socket", "write it as unix:///path/to/socket"}},
    {{"endpoint is a mandatory field for a kms"},
     {"a kms provider in the encryption configuration has no endpoint",
      "write it as unix:///path/to/socket"}},
    {{"name is a mandatory field for a provider"},
     {"a kms provider in the encryption configuration has no name", "give it its name back"}},
    {{"duplicate KMS provider name"}, /* (read) 1.26 and later */
     {"two kms providers in the encryption configuration share a name",
      "give each a name of its own; the one that data is stored under keeps its name"}},
    {{"error opening encryption provider configuration file", "no such file"},
     {"kube-apiserver doesn't find the encryption configuration",
      "look whether it lies there, and in a folder that kube-apiserver can see"}},
    {{"error opening encryption provider configuration file", "permission denied"},
     {"kube-apiserver may not read the encryption configuration",
      "it is to be owned by the user that kube-apiserver runs as, mode 0600"}},
    {{"encryption provider configuration file", "could not read contents"},
     {"the encryption configuration can't be read", "look at the file and the node's disk"}},
    {{"encryption provider configuration file", "yaml:"},
     {"the encryption configuration is no YAML", "encrypt lint FILE tells where"}},
    {{"encryption provider configuration file", "error converting YAML to JSON"}, /* (read) */
     {"the encryption configuration is no YAML", "encrypt lint FILE tells where"}},
    {{"error while parsing encryption provider configuration file"},
     {"kube-apiserver refuses the encryption configuration",
      "encrypt lint FILE checks it without a cluster"}},

    /* ---- flags, port, certificates ---- */
    {{"unknown flag: --encryption-provider-config-automatic-reload"},
     {"this version of kube-apiserver has no automatic reload", "it came with 1.26"}},
    {{"unknown flag: --encryption-provider-config"},
     {"this version of kube-apiserver is too old for --encryption-provider-config",
      "it came with 1.13; before that it was --experimental-encryption-provider-config"}},
    {{"unknown flag: --experimental-encryption-provider-config"},
     {"this version of kube-apiserver is too new for --experimental-encryption-provider-config",
      "from 1.13 on it is --encryption-provider-config"}},
    {{"unknown flag:"},
     {"this version of kube-apiserver does not know one of its flags",
      "take it out, or give it the name it has in this version"}},
    {{"invalid argument ", " flag:"},
     {"one of kube-apiserver's flags has a wrong value", "correct it"}},
    {{"failed to create listener", "address already in use"},
     {"another process has kube-apiserver's port",
      "find it on the node (ss -ltnp) and end it: it may be an older kube-apiserver"}},
    {{"private key does not match public key"},
     {"a certificate and its key don't belong together",
      "look at --tls-cert-file and --tls-private-key-file, and --etcd-certfile and "
      "--etcd-keyfile"}},
    {{"open /", ".pem: no such file"},
     {"a certificate or key that kube-apiserver is told to read is missing",
      "put it back: the message names it"}},
    {{"open /", ".crt: no such file"},
     {"a certificate or key that kube-apiserver is told to read is missing",
      "put it back: the message names it"}},
    {{"open /", ".key: no such file"},
     {"a certificate or key that kube-apiserver is told to read is missing",
      "put it back: the message names it"}},

    /* ---- memory ---- */
    {{"runtime: out of memory"}, /* (read) Go */
     {"the node has no memory left for kube-apiserver", "free some, or raise its limit"}},
    {{"cannot allocate memory"}, /* (read) Go */
     {"the node has no memory left for kube-apiserver", "free some, or raise its limit"}},

    /* ---- KMS ---- */
    {{"failed to create connection to unix socket", "no such file"},
     {"there is no such KMS socket: the KMS plugin does not run on this node, or "
      "kube-apiserver can't see its folder",
      "start it; look at the endpoint, and whether its folder is mounted into kube-apiserver"}},
    {{"failed to create connection to unix socket", "permission denied"}, /* (read) */
     {"kube-apiserver may not use the KMS socket", "look at the socket's owner and mode"}},
    {{"failed to create connection to unix socket"},
     {"the KMS plugin does not answer at its socket", "look at its log on this node"}},
    {{"section of the healthz check for KMS Provider"}, /* (read) 1.25 */
     {"the KMS plugin answers, but can't encrypt or decrypt",
      "look at its log on this node, and at the remote KMS"}},
    {{"kms-provider", "failed"}, /* (read) readyz */
     {"the KMS plugin is not healthy", "look at its log on this node, and at the remote KMS"}},

    /* ---- etcd: an apiserver lives through some of these for a while ---- */
    {{"database space exceeded"}, /* (read) etcd */
     {"etcd is out of space",
      "compact and defragment it and end its alarm (etcdctl alarm disarm), or raise "
      "quota-backend-bytes"}},
    {{"createTransport failed", "handshake failed", "x509:"},
     {"etcd's certificate is not accepted", "look at --etcd-cafile, and at the node's clock"}},
    {{"createTransport failed", "bad certificate"}, /* (read) Go */
     {"etcd does not accept kube-apiserver's certificate",
      "look at --etcd-certfile and --etcd-keyfile, and at etcd's own log"}},
    {{"createTransport failed", "connection refused"},
     {"etcd can't be reached: nothing listens there",
      "look whether it runs, and at --etcd-servers"}},
    {{"createTransport failed", "i/o timeout"}, /* (read) Go */
     {"etcd can't be reached: no answer", "look at the network, and at --etcd-servers"}},
    {{"createTransport failed", "no route to host"}, /* (read) Go */
     {"etcd can't be reached: no answer", "look at the network, and at --etcd-servers"}},
    {{"Error: context deadline exceeded"},
     {"etcd did not answer in time", "look whether it runs, and at its log"}},
    {{"err=\"context deadline exceeded\""}, /* (read) 1.23 and later */
     {"etcd did not answer in time", "look whether it runs, and at its log"}},

    /* ---- data ---- */
    {{"unexpected ListAndWatch error", "no matching prefix found"},
     {"something is stored that no key of the configuration reads, and kube-apiserver does not "
      "become ready as long as that is so",
      "put the key back that it was written with; encrypt doctor tells which"}},
    {{"unexpected ListAndWatch error", "unable to transform key"},
     {"the object that the line names is damaged, or was written with another secret under a key's "
      "name, and kube-apiserver does not become ready as long as that is so",
      ANOTHER_SECRET}},
    {{"unexpected ListAndWatch error", "data from the storage is not transformable"}, /* (read)
                                                                                         1.31 */
     {"an object is damaged, or was written with another secret under a key's name, and "
      "kube-apiserver does not become ready as long as that is so",
      ANOTHER_SECRET}},
};

static bool has(const char *line, size_t len, const char *word)
{
    return memmem(line, len, word, strlen(word)) != NULL;
}

static bool fits(const struct entry *e, const char *line, size_t len)
{
    for (size_t i = 0; i < WORDS && e->words[i]; i++) {
        if (!has(line, len, e->words[i]))
            return false;
    }
    return true;
}

const struct log_meaning *log_meaning(const char *log)
{
    for (size_t i = 0; log && i < ARRAY_LEN(entries); i++) {
        for (const char *line = log; *line;) {
            size_t len = strcspn(line, "\n");
            if (fits(&entries[i], line, len))
                return &entries[i].meaning;
            line += len + (line[len] != '\0');
        }
    }
    return NULL;
}
