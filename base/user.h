/* The user that runs this process. */
#ifndef ENCRYPT_BASE_USER_H
#define ENCRYPT_BASE_USER_H

/* The name that the password database has; NULL where it has none. To be freed. */
char *user_name(void);

/* $HOME, or else what the password database says; NULL where neither does. To be freed. */
char *user_home(void);

#endif
