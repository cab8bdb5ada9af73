/* Runs a program on a host without io_uring: its three system calls fail with EPERM, as under the default seccomp profile of a
 * container runtime, or with the error whose name comes first.
 *
 *     cc -o without-uring .ci/without-uring.c && ./without-uring [EPERM|ENOSYS|ENOMEM|EINVAL] PROGRAM [ARGUMENT...]
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

/* The same on every architecture. */
enum { IO_URING_SETUP = 425, IO_URING_REGISTER = 427 };

static const struct { const char *name; unsigned number; } errors[] = {
    { "EPERM", EPERM }, { "ENOSYS", ENOSYS }, { "ENOMEM", ENOMEM }, { "EINVAL", EINVAL },
};

int main(int count, char **arguments) {
    unsigned error = EPERM;
    char **program = arguments + 1;
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
        if (count > 1 && !strcmp(arguments[1], errors[i].name)) {
            error = errors[i].number;
            program = arguments + 2;
        }
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, IO_URING_SETUP, 0, 2),
        BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, IO_URING_REGISTER, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog rules = { sizeof filter / sizeof *filter, filter };
    if (!*program) {
        fprintf(stderr, "usage: %s [EPERM|ENOSYS|ENOMEM|EINVAL] PROGRAM [ARGUMENT...]\n", arguments[0]);
        return 2;
    }
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &rules)) {
        perror("seccomp");
        return 125;
    }
    execvp(program[0], program);
    perror(program[0]);
    return 127;
}
