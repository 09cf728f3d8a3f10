/*
 * Tar files of a single regular file (POSIX ustar), as the Engine's archive calls take and give
 * them. Not libarchive: the file is the configuration with its keys, and libarchive's buffers are
 * freed unwiped. All buffers here are `struct buf`, wiped.
 */
#ifndef ENCRYPT_PROVISIONER_DOCKER_TAR_H
#define ENCRYPT_PROVISIONER_DOCKER_TAR_H

#include "base/buf.h"
#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

enum { TAR_FILE_LIMIT = 2 << 20 };

/* Appends a tar of one file: mode 0600, uid and gid 0, modified at `mtime`. `name` is one component
 * of at most 100 bytes. REFUSED: another name, more than TAR_FILE_LIMIT bytes. */
int tar_write(struct buf *out, const char *name, const void *data, size_t len, int64_t mtime,
              struct error *err) MUST_CHECK;

/* Appends the contents of the first entry. Where that is a symbolic link, *link is its target (to
 * be freed) and nothing is appended; else *link is NULL. Extended headers (pax, GNU long names) are
 * passed over. Errors: cut short, a wrong checksum or magic, larger than TAR_FILE_LIMIT, any other
 * type of file. No error quotes contents. */
int tar_read(const struct buf *tar, struct buf *out, char **link, struct error *err) MUST_CHECK;

/* When the file was changed (mtime) by the first entry; 0 where that is a symbolic link. Errors as
 * tar_read()'s. */
int tar_changed_at(const struct buf *tar, long long *out, struct error *err) MUST_CHECK;

#endif
