/* libFuzzer: the decision on a host key. The first two bytes say how long the key is; then the key,
 * then the file. */
#include "provisioner/ssh/known_hosts.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const hosts[] = {"10.0.0.1", "host.example.com", "fe80::1"};
    static const uint16_t ports[] = {22, 2222};
    if (size < 2)
        return 0;
    size_t key_len = data[0] | (size_t)data[1] << 8;
    data += 2;
    size -= 2;
    if (key_len > size)
        key_len = size;
    const char *text = (const char *)data + key_len;
    size_t len = size - key_len;
    for (size_t h = 0; h < ARRAY_LEN(hosts); h++) {
        for (size_t p = 0; p < ARRAY_LEN(ports); p++) {
            struct host_key key = {hosts[h], ports[p], data, key_len};
            size_t line = 0;
            enum host_key_verdict verdict = known_hosts_check(text, len, &key, &line);
            if ((verdict == HOST_KEY_UNKNOWN) != (line == 0))
                abort();
            mem_free(known_hosts_algorithms(text, len, hosts[h], ports[p]));
            mem_free(host_key_fingerprint(&key));
        }
    }
    return 0;
}
