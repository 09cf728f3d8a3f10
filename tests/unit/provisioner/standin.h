/*
 * A stand-in for an HTTP server, in the test's own process: threads that answer on a Unix socket
 * what the test's function says. HTTP/1.1 without TLS.
 */
#ifndef ENCRYPT_TESTS_STANDIN_H
#define ENCRYPT_TESTS_STANDIN_H

#include "base/buf.h"
#include "provisioner/net/http.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

struct asked {
    char method[16];
    char path[2048]; /* with its query */
    char *head;
    char *body;
};

struct standin {
    /* Adds status line, headers and body (see standin_answer); adding nothing closes the connection
     * without an answer, and `Connection: close` after it. One call at a time. */
    void (*fn)(void *ctx, const struct asked *q, struct buf *out);
    void *ctx;

    char path[64];
    struct http_server server; /* to reach it by */
    size_t asked;              /* how often */
    size_t at_once, most_at_once;
    unsigned delay_us; /* before each answer, outside the lock */
    int fd;
    pthread_t acceptor;
    pthread_mutex_t lock;
    struct standin_connection {
        struct standin *s;
        pthread_t thread;
        int fd;
    } connections[512];
    size_t count;
};

static inline void standin_answer(struct buf *out, int status, const char *headers,
                                  const char *body)
{
    buf_printf(out,
               "HTTP/1.1 %d X\r\nContent-Type: application/json\r\n%sContent-Length: %zu\r\n\r\n%s",
               status, headers ? headers : "", strlen(body), body);
}

static inline size_t standin_length(const char *head)
{
    const char *h = strcasestr(head, "\r\ncontent-length:");
    return h ? (size_t)strtoul(h + 17, NULL, 10) : 0;
}

static inline bool standin_read(int fd, struct asked *q)
{
    struct buf in CLEANUP(buf_free) = {0};
    const char *end = NULL;
    size_t whole = 0;
    while (!end || in.len < whole) {
        char *to = buf_reserve(&in, 4096);
        ssize_t n = recv(fd, to, 4096, 0);
        if (n <= 0)
            return false;
        in.len += (size_t)n;
        in.data[in.len] = '\0';
        end = strstr(in.data, "\r\n\r\n");
        if (end)
            whole = (size_t)(end - in.data) + 4 + standin_length(in.data);
    }
    if (sscanf(in.data, "%15s %2047s", q->method, q->path) != 2)
        return false;
    q->head = mem_strndup(in.data, (size_t)(end - in.data));
    q->body = mem_strdup(end + 4);
    return true;
}

static inline void *standin_serve(void *ctx)
{
    struct standin_connection *c = ctx;
    struct standin *s = c->s;
    for (;;) {
        struct asked q = {0};
        struct buf out CLEANUP(buf_free) = {0};
        if (!standin_read(c->fd, &q))
            break;
        pthread_mutex_lock(&s->lock);
        s->asked++;
        if (++s->at_once > s->most_at_once)
            s->most_at_once = s->at_once;
        pthread_mutex_unlock(&s->lock);
        if (s->delay_us)
            usleep(s->delay_us);
        pthread_mutex_lock(&s->lock);
        s->fn(s->ctx, &q, &out);
        s->at_once--;
        pthread_mutex_unlock(&s->lock);
        mem_free(q.head);
        mem_free(q.body);
        size_t sent = 0;
        while (sent < out.len) {
            ssize_t n = send(c->fd, out.data + sent, out.len - sent, MSG_NOSIGNAL);
            if (n <= 0)
                break;
            sent += (size_t)n;
        }
        if (!out.len || sent < out.len || strstr(out.data, "\r\nConnection: close\r\n"))
            break;
    }
    shutdown(c->fd, SHUT_RDWR);
    return NULL;
}

static inline void *standin_accept(void *ctx)
{
    struct standin *s = ctx;
    for (;;) {
        int fd = accept(s->fd, NULL, NULL);
        if (fd < 0)
            return NULL;
        if (s->count == ARRAY_LEN(s->connections))
            abort();
        struct standin_connection *c = &s->connections[s->count];
        *c = (struct standin_connection){.s = s, .fd = fd};
        if (pthread_create(&c->thread, NULL, standin_serve, c) != 0)
            abort();
        s->count++;
    }
}

static inline void standin_start(struct standin *s, struct loop *loop, const char *what)
{
    static unsigned number;
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    snprintf(s->path, sizeof(s->path), "/tmp/standin.%d.%u", (int)getpid(), number++);
    snprintf(a.sun_path, sizeof(a.sun_path), "%s", s->path);
    pthread_mutex_init(&s->lock, NULL);
    s->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (s->fd < 0 || bind(s->fd, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(s->fd, 512) < 0 ||
        pthread_create(&s->acceptor, NULL, standin_accept, s) != 0)
        abort();
    s->server = (struct http_server){
        .loop = loop,
        .what = mem_strdup(what),
        .url = mem_strdup("http://kubernetes"),
        .unix_path = mem_strdup(s->path),
    };
}

static inline void standin_stop(struct standin *s)
{
    if (!s->path[0])
        return;
    shutdown(s->fd, SHUT_RDWR);
    close(s->fd);
    pthread_join(s->acceptor, NULL);
    for (size_t i = 0; i < s->count; i++) {
        shutdown(s->connections[i].fd, SHUT_RDWR);
        pthread_join(s->connections[i].thread, NULL);
        close(s->connections[i].fd);
    }
    unlink(s->path);
    http_server_free(&s->server);
    s->path[0] = '\0';
}

/* A loop for each test; in *state. */
static inline int standin_setup(void **state)
{
    struct loop *l = NULL;
    struct error err = {0};
    if (loop_new(&l, &err) < 0)
        return -1;
    *state = l;
    return 0;
}
static inline int standin_teardown(void **state)
{
    loop_free(*state);
    return 0;
}
#define STANDIN_TEST(fn) cmocka_unit_test_setup_teardown(fn, standin_setup, standin_teardown)

/* A Kubernetes Status. */
static inline void standin_status(struct buf *out, int status, const char *headers,
                                  const char *reason, const char *message, const char *kind,
                                  const char *name, const char *token)
{
    struct buf body CLEANUP(buf_free) = {0};
    buf_printf(&body,
               "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{\"continue\":\"%s\"},"
               "\"status\":\"Failure\",\"message\":\"%s\",\"reason\":\"%s\",\"details\":{\"name\":"
               "\"%s\",\"kind\":\"%s\"},\"code\":%d}",
               token ? token : "", message, reason, name ? name : "", kind ? kind : "", status);
    standin_answer(out, status, headers, buf_str(&body));
}

#endif
