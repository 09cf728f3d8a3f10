#include "base/user.h"

#include "base/mem.h"

#include <pwd.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

enum { ENTRY_SIZE = 16384 };

/* (getpwuid() has one answer for all threads.) */
static char *look_up(bool home)
{
    struct passwd entry, *found = NULL;
    char *texts CLEANUP(cleanup_mem) = mem_alloc(ENTRY_SIZE, 1);
    if (getpwuid_r(geteuid(), &entry, texts, ENTRY_SIZE, &found) != 0 || !found)
        return NULL;
    const char *text = home ? found->pw_dir : found->pw_name;
    return text && *text ? mem_strdup(text) : NULL;
}

char *user_name(void)
{
    return look_up(false);
}

char *user_home(void)
{
    const char *home = getenv("HOME");
    return home && *home ? mem_strdup(home) : look_up(true);
}
