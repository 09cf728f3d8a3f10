/* The last log lines of a kube-apiserver that does not come up, explained. Pure. */
#ifndef ENCRYPT_PROVISIONER_EXPLAIN_H
#define ENCRYPT_PROVISIONER_EXPLAIN_H

struct log_meaning {
    const char *means; /* no capital, no full stop */
    const char *todo;
};

/* What the lines mean: the first entry of the table, whose order is from what ends an apiserver to
 * what it may live through, that has a line with all its words. NULL where none has; log may be
 * NULL. The result is static. */
const struct log_meaning *log_meaning(const char *log);

#endif
