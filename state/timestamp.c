#include "state/timestamp.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

char *timestamp_now(void)
{
    struct timespec now;
    struct tm tm;
    char text[sizeof("2026-01-02T03:04:05Z") + 16];
    if (clock_gettime(CLOCK_REALTIME, &now) != 0 || !gmtime_r(&now.tv_sec, &tm) ||
        strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
        abort();
    return mem_strdup(text);
}

char *timestamp_at(long long seconds)
{
    time_t when = (time_t)seconds;
    struct tm tm;
    char text[sizeof("2026-01-02T03:04:05Z") + 16];
    if (seconds < 0 || seconds > 253402300799 || !gmtime_r(&when, &tm) ||
        strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
        return NULL;
    return mem_strdup(text);
}

static int digits(const char *s, int count)
{
    int value = 0;
    for (int i = 0; i < count; i++)
        value = value * 10 + (s[i] - '0');
    return value;
}

bool timestamp_valid(const char *s)
{
    static const char form[] = "dddd-dd-ddTdd:dd:ddZ";
    if (strlen(s) != sizeof(form) - 1)
        return false;
    for (size_t i = 0; i < sizeof(form) - 1; i++)
        if (form[i] == 'd' ? s[i] < '0' || s[i] > '9' : s[i] != form[i])
            return false;
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int year = digits(s, 4), month = digits(s + 5, 2), day = digits(s + 8, 2);
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    if (year < 1970 || month < 1 || month > 12)
        return false;
    int last = days[month - 1] + (leap && month == 2);
    return day >= 1 && day <= last && digits(s + 11, 2) <= 23 && digits(s + 14, 2) <= 59 &&
           digits(s + 17, 2) <= 60;
}
