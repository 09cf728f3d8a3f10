#include "state/lock.h"

#include "support.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

/* A process that holds the lock until it is told to end, or killed. */
struct holder {
    pid_t pid;
    int tell;
};

static struct holder hold(const char *path)
{
    int ready[2], tell[2];
    char c;
    assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
    assert_int_equal(pipe2(tell, O_CLOEXEC), 0);
    struct holder h = {.pid = fork(), .tell = tell[1]};
    if (h.pid == 0) {
        struct error err = {0};
        struct state_lock *lock = NULL;
        close(tell[1]);
        if (state_lock_take(path, &lock, &err) != 0 || write(ready[1], "r", 1) != 1)
            _exit(1);
        if (read(tell[0], &c, 1) < 0)
            _exit(1);
        state_lock_release(lock);
        _exit(0);
    }
    close(ready[1]);
    close(tell[0]);
    assert_int_equal(read(ready[0], &c, 1), 1);
    close(ready[0]);
    return h;
}

static void wait_for(struct holder h)
{
    close(h.tell);
    assert_int_equal(waitpid(h.pid, NULL, 0), h.pid);
}

static void a_second_lock_is_refused_and_says_who_holds_it(void **state)
{
    char *path CLEANUP(cleanup_mem) = in(state, "cluster.rkestate");
    char *who CLEANUP(cleanup_mem) = NULL;
    struct holder h = hold(path);
    struct state_lock *lock = NULL;
    who = mem_printf("process %ld, \"", (long)h.pid);
    REFUSES(state_lock_take(path, &lock, &err), RESULT_REFUSED, who);
    REFUSES(state_lock_take(path, &lock, &err), RESULT_REFUSED, "test_lock");
    REFUSES(state_lock_take(path, &lock, &err), RESULT_REFUSED, "since 20");
    REFUSES(state_lock_take(path, &lock, &err), RESULT_REFUSED, "may be out of date");
    assert_null(lock);
    wait_for(h);
    OK(state_lock_take(path, &lock, &err));
    state_lock_release(lock);
}

static void kill_9_of_the_holder_frees_it(void **state)
{
    char *path CLEANUP(cleanup_mem) = in(state, "cluster.rkestate");
    struct holder h = hold(path);
    struct state_lock *lock CLEANUP(cleanup_state_lock) = NULL;
    assert_int_equal(kill(h.pid, SIGKILL), 0);
    wait_for(h);
    OK(state_lock_take(path, &lock, &err));
}

static void the_lock_holds_within_one_process_too(void **state)
{
    char *path CLEANUP(cleanup_mem) = in(state, "cluster.rkestate");
    struct state_lock *lock CLEANUP(cleanup_state_lock) = NULL, *second = NULL;
    OK(state_lock_take(path, &lock, &err));
    REFUSES(state_lock_take(path, &second, &err), RESULT_REFUSED, "another process is at work");
}

static void the_file_stays_empty_and_private_when_it_is_released(void **state)
{
    char *path CLEANUP(cleanup_mem) = in(state, "cluster.rkestate");
    char *file CLEANUP(cleanup_mem) = in(state, ".cluster.rkestate.lock");
    struct state_lock *lock = NULL;
    struct stat st;
    OK(state_lock_take(path, &lock, &err));
    assert_int_equal(stat(file, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_true(st.st_size > 0);
    ino_t inode = st.st_ino;
    state_lock_release(lock);
    state_lock_release(NULL);
    assert_int_equal(stat(file, &st), 0);
    assert_int_equal(st.st_size, 0);
    assert_int_equal(st.st_ino, inode);
}

static void a_child_that_lives_on_does_not_hold_it(void **state)
{
    char *path CLEANUP(cleanup_mem) = in(state, "cluster.rkestate");
    struct state_lock *lock = NULL;
    OK(state_lock_take(path, &lock, &err));
    pid_t child = fork();
    if (child == 0) {
        pause();
        _exit(0);
    }
    state_lock_release(lock);
    lock = NULL;
    OK(state_lock_take(path, &lock, &err));
    state_lock_release(lock);
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, NULL, 0), child);
}

static void two_names_of_one_state_file_have_one_lock(void **state)
{
    char *path CLEANUP(cleanup_mem) = in(state, "cluster.rkestate");
    char *link CLEANUP(cleanup_mem) = in(state, "link.rkestate");
    struct state_lock *lock CLEANUP(cleanup_state_lock) = NULL, *second = NULL;
    spill(path, "{}", 2, 0600);
    assert_int_equal(symlink("cluster.rkestate", link), 0);
    OK(state_lock_take(link, &lock, &err));
    REFUSES(state_lock_take(path, &second, &err), RESULT_REFUSED, "another process is at work");
}

static void a_lock_file_with_rubbish_in_it_is_told_printably(void **state)
{
    char *path CLEANUP(cleanup_mem) = in(state, "cluster.rkestate");
    char *file CLEANUP(cleanup_mem) = in(state, ".cluster.rkestate.lock");
    struct state_lock *lock CLEANUP(cleanup_state_lock) = NULL, *second = NULL;
    OK(state_lock_take(path, &lock, &err));
    struct buf rubbish CLEANUP(buf_free) = {0};
    for (int i = 0; i < 3000; i++)
        buf_add(&rubbish, "\x1b[2J\0\xff", 6);
    spill(file, rubbish.data, rubbish.len, 0600);
    struct error why CLEANUP(error_clear) = {0};
    assert_int_equal(state_lock_take(path, &second, &why), -1);
    assert_int_equal(why.result, RESULT_REFUSED);
    assert_true(strlen(why.message) < 2000);
    for (const char *c = why.message; *c; c++)
        assert_true(*c >= ' ' && *c < 0x7f);
}

static void looking_tells_who_holds_it_and_takes_and_makes_nothing(void **state)
{
    char *path CLEANUP(cleanup_mem) = in(state, "cluster.rkestate");
    char *file CLEANUP(cleanup_mem) = in(state, ".cluster.rkestate.lock");
    char *who CLEANUP(cleanup_mem) = NULL, *nobody = NULL;
    OK(state_lock_look(path, &nobody, &err));
    assert_null(nobody);
    assert_int_equal(access(file, F_OK), -1);
    struct holder h = hold(path);
    OK(state_lock_look(path, &who, &err));
    char *pid CLEANUP(cleanup_mem) = mem_printf("process %ld, \"", (long)h.pid);
    assert_non_null(who);
    assert_true(str_starts(who, pid));
    wait_for(h);
    OK(state_lock_look(path, &nobody, &err));
    assert_null(nobody);
    /* It was not taken by looking. */
    struct state_lock *lock CLEANUP(cleanup_state_lock) = NULL;
    OK(state_lock_take(path, &lock, &err));
    char *own CLEANUP(cleanup_mem) = NULL;
    OK(state_lock_look(path, &own, &err));
    assert_non_null(own);
}

static void what_can_not_be_locked_is_an_error(void **state)
{
    struct state_lock *lock = NULL;
    REFUSES(state_lock_take("/nonexistent/cluster.rkestate", &lock, &err), RESULT_FAILED,
            "/nonexistent/cluster.rkestate: locking: ");
    char *path CLEANUP(cleanup_mem) = in(state, "cluster.rkestate");
    char *file CLEANUP(cleanup_mem) = in(state, ".cluster.rkestate.lock");
    assert_int_equal(mkfifo(file, 0600), 0);
    REFUSES(state_lock_take(path, &lock, &err), RESULT_REFUSED, "not a regular file");
    assert_int_equal(unlink(file), 0);
    assert_int_equal(symlink("/dev/null", file), 0);
    REFUSES(state_lock_take(path, &lock, &err), RESULT_FAILED, "opening the lock: ");
    assert_null(lock);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define IN_FOLDER(f) cmocka_unit_test_setup_teardown(f, make_folder, remove_folder)
        IN_FOLDER(a_second_lock_is_refused_and_says_who_holds_it),
        IN_FOLDER(kill_9_of_the_holder_frees_it),
        IN_FOLDER(the_lock_holds_within_one_process_too),
        IN_FOLDER(the_file_stays_empty_and_private_when_it_is_released),
        IN_FOLDER(a_child_that_lives_on_does_not_hold_it),
        IN_FOLDER(two_names_of_one_state_file_have_one_lock),
        IN_FOLDER(a_lock_file_with_rubbish_in_it_is_told_printably),
        IN_FOLDER(looking_tells_who_holds_it_and_takes_and_makes_nothing),
        IN_FOLDER(what_can_not_be_locked_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
