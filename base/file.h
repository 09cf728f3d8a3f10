/* Files on this machine: read whole, written whole or not at all. */
#ifndef ENCRYPT_BASE_FILE_H
#define ENCRYPT_BASE_FILE_H

#include "base/buf.h"
#include "base/error.h"

#include <stdbool.h>

/* Appends the file's contents to `out`. More than `limit` bytes are an error. `private`: group or
 * world access is refused (REFUSED, with the chmod command as next), as are files of another user
 * than ours or root's. *missing (may be NULL) is set where there is no such file: then 0 is given
 * and out is untouched; with missing NULL that is an error too. Not a regular file: an error. */
int file_read(const char *path, size_t limit, bool private, struct buf *out, bool *missing,
              struct error *err) MUST_CHECK;

/* Replaces the file's contents, atomically and durably: a new file beside it (O_EXCL, 0600, a
 * random name that begins with `.<name>.encrypt-`), written, fsync, rename, fsync of the folder.
 * Any failure is an error, the old contents then stand and the new file is removed. A symbolic link
 * at `path` is followed first, so that the link stays. Left-overs of killed runs (that pattern,
 * same folder) are removed by the next write of the same file: the caller holds the lock. */
int file_write(const char *path, const char *data, size_t len, struct error *err) MUST_CHECK;

/* The same for a file that must not be there yet: REFUSED where one is (or a link), which is left
 * as it is. */
int file_create(const char *path, const char *data, size_t len, struct error *err) MUST_CHECK;

/* Replaces the contents of somebody's file, as file_write() does, and leaves it its mode, owner,
 * group and access control list. REFUSED, and nothing is changed, where that can't be done: not
 * there, no regular file, more than one name (hard links), not ours to write, mounted by itself
 * (into a container), its owner can't be kept. */
int file_replace(const char *path, const char *data, size_t len, struct error *err) MUST_CHECK;
/* That file_replace() would work, tried with a file of `len` bytes beside it, which is removed. */
int file_replace_check(const char *path, size_t len, struct error *err) MUST_CHECK;

/* "dir/name" with the extension of `path` replaced: file_beside("a/cluster.yml", "rkestate") is
 * "a/cluster.rkestate". A path without an extension gets one. */
char *file_beside(const char *path, const char *extension);

/* An absolute path without doubled slashes, `.`, `..` and a slash at its end, as Docker keeps it;
 * any other text as it is. To be freed. */
char *path_clean(const char *path);

#endif
