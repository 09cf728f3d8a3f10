/* libFuzzer: what a node says of its processes. What comes of it is whole, and in order. */
#include "provisioner/host/host.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct host_process *list = NULL;
    size_t count = 0;
    char *text = mem_strndup((const char *)data, size);
    host_processes_parse(text, &list, &count);
    for (size_t i = 0; i < count; i++) {
        if (!list[i].identity || !list[i].args || !list[i].args[0])
            abort();
        if (strlen(list[i].identity) == 0)
            abort();
    }
    host_processes_free(list, count);
    mem_free(text);
    return 0;
}
