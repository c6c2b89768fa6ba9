/* A wall clock that can be set for one process: LD_PRELOADed, it adds the offset that a file holds.
 *
 * As a step of the system's clock, it moves what reads the time of day and what waits until a time of day; what goes by
 * the monotonic clock does not notice. The file ($TEST_WALL_CLOCK) holds nanoseconds as one int64 and may change at any
 * time. Linux with glibc: the waits of other C libraries tell their clock in another place.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

#define SECOND 1000000000LL
#define LOOK_AGAIN (SECOND / 50) /* a wait notices within this time that the clock was set */

static volatile int64_t *set_by;

__attribute__((constructor)) static void open_the_file(void) {
    const char *path = getenv("TEST_WALL_CLOCK");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) return;
    void *found = mmap(NULL, sizeof *set_by, PROT_READ, MAP_SHARED, file, 0);
    if (found != MAP_FAILED) set_by = found;
    close(file);
}

static int64_t offset(void) { return set_by ? *set_by : 0; }
static int64_t to_ns(const struct timespec *t) { return t->tv_sec * SECOND + t->tv_nsec; }
static struct timespec from_ns(int64_t ns) { return (struct timespec){ns / SECOND, ns % SECOND}; }

static int64_t true_now(void) {
    struct timespec t;
    syscall(SYS_clock_gettime, CLOCK_REALTIME, &t);
    return to_ns(&t);
}

/* ------------------------------------------------------------------ reading the time of day */

int clock_gettime(clockid_t clock, struct timespec *t) {
    long failed = syscall(SYS_clock_gettime, clock, t);
    if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) *t = from_ns(to_ns(t) + offset());
    return (int)failed;
}

int gettimeofday(struct timeval *restrict t, void *restrict zone) {
    (void)zone;
    int64_t now = true_now() + offset();
    *t = (struct timeval){now / SECOND, now % SECOND / 1000};
    return 0;
}

time_t time(time_t *t) {
    time_t now = (true_now() + offset()) / SECOND;
    if (t) *t = now;
    return now;
}

int timespec_get(struct timespec *t, int base) {
    if (base != TIME_UTC) return 0;
    *t = from_ns(true_now() + offset());
    return base;
}

/* ------------------------------------------------------------------ waiting until a time of day */

/* When, by the true clock, to look at the clock again: at the deadline if it is near. */
static struct timespec next_look(const struct timespec *deadline) {
    int64_t now = true_now(), left = to_ns(deadline) - (now + offset());
    return from_ns(now + (left < LOOK_AGAIN ? left : LOOK_AGAIN));
}

static int is_past(const struct timespec *deadline) { return true_now() + offset() >= to_ns(deadline); }

/* The real function of glibc. x86 has two versions of each wait and signal on conditions; the old one must not be found. */
static void *real(const char *name) {
    void *found = dlvsym(RTLD_NEXT, name, "GLIBC_2.3.2");
    return found ? found : dlsym(RTLD_NEXT, name);
}

/* Signals sent, by condition. One sent between two looks at the clock has woken nobody, and its caller is told late. */
static atomic_uint signals[4096];
static atomic_uint *signals_of(pthread_cond_t *cond) { return &signals[(uintptr_t)cond / sizeof *cond % 4096]; }

int pthread_cond_signal(pthread_cond_t *cond) {
    static int (*wake)(pthread_cond_t *);
    if (!wake) wake = real("pthread_cond_signal");
    atomic_fetch_add(signals_of(cond), 1);
    return wake(cond);
}

int pthread_cond_broadcast(pthread_cond_t *cond) {
    static int (*wake)(pthread_cond_t *);
    if (!wake) wake = real("pthread_cond_broadcast");
    atomic_fetch_add(signals_of(cond), 1);
    return wake(cond);
}

int pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *mutex, const struct timespec *deadline) {
    static int (*wait)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
    if (!wait) wait = real("pthread_cond_timedwait");
    if (cond->__data.__wrefs & 2) return wait(cond, mutex, deadline); /* it goes by the monotonic clock */
    unsigned before = atomic_load(signals_of(cond));
    for (;;) {
        struct timespec look = next_look(deadline);
        int result = wait(cond, mutex, &look);
        if (result != ETIMEDOUT || is_past(deadline)) return result;
        if (atomic_load(signals_of(cond)) != before) return 0;
    }
}

/* C11's, which librdkafka calls: in glibc the same, reached without the names above. */
int cnd_signal(cnd_t *cond) { return pthread_cond_signal((pthread_cond_t *)cond) ? thrd_error : thrd_success; }
int cnd_broadcast(cnd_t *cond) { return pthread_cond_broadcast((pthread_cond_t *)cond) ? thrd_error : thrd_success; }
int cnd_timedwait(cnd_t *cond, mtx_t *mutex, const struct timespec *deadline) {
    int result = pthread_cond_timedwait((pthread_cond_t *)cond, (pthread_mutex_t *)mutex, deadline);
    return result == 0 ? thrd_success : result == ETIMEDOUT ? thrd_timedout : thrd_error;
}

int sem_timedwait(sem_t *semaphore, const struct timespec *deadline) {
    static int (*wait)(sem_t *, const struct timespec *);
    if (!wait) wait = dlsym(RTLD_NEXT, "sem_timedwait");
    for (;;) {
        struct timespec look = next_look(deadline);
        int failed = wait(semaphore, &look);
        if (!failed || errno != ETIMEDOUT || is_past(deadline)) return failed;
    }
}
