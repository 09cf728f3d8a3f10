/* Text from elsewhere (nodes, servers, files) for a terminal or for JSON. */
#ifndef ENCRYPT_BASE_PRINTABLE_H
#define ENCRYPT_BASE_PRINTABLE_H

/* A copy that is valid UTF-8 and has no control characters but newlines: a tab becomes a space;
 * other controls, C1 (U+0080 to U+009F) among them, and each byte that is no part of a UTF-8
 * character become `?`. NULL where text is NULL. To be freed. */
char *make_printable(const char *text);

#endif
