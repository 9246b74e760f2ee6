/* Stands in for the kernel's cpufreq on a tree of plain files: this machine has none.
 *
 * Preloaded into a test's agent and its guardian, it gives write(2) below .../cpu/cpufreq/ and .../devfreq/ the kernel's
 * manners: a governor must be offered, a new one takes the old one's tunables away and brings its own with their defaults,
 * limits can't cross, and a write replaces the whole value.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef ssize_t (*write_fn)(int, const void *, size_t);
static write_fn real;

static int slurp(const char *dir, const char *name, char *out, size_t size) {
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return -1;
    ssize_t got = read(fd, out, size - 1);
    close(fd);
    out[got > 0 ? got : 0] = 0;
    out[strcspn(out, "\n")] = 0;
    return 0;
}

static void put(const char *dir, const char *name, const char *text) {
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0) return;
    real(fd, text, strlen(text));
    close(fd);
}

static void take_away(const char *dir, const char *governor) {
    char path[PATH_MAX], file[PATH_MAX + 300];
    snprintf(path, sizeof path, "%s/%s", dir, governor);
    DIR *open_dir = opendir(path);
    if (!open_dir) return;
    for (struct dirent *one; (one = readdir(open_dir));) {
        snprintf(file, sizeof file, "%s/%s", path, one->d_name);
        unlink(file);
    }
    closedir(open_dir);
    rmdir(path);
}

static void bring(const char *dir, const char *governor) {
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", dir, governor);
    if (!strcmp(governor, "ondemand")) {
        mkdir(path, 0755);
        put(path, "up_threshold", "95\n");
        put(path, "sampling_rate", "10000\n");
        put(path, "sampling_down_factor", "1\n");
        put(path, "io_is_busy", "0\n");
    } else if (!strcmp(governor, "schedutil")) {
        mkdir(path, 0755);
        put(path, "rate_limit_us", "1000\n");
    }
}

ssize_t write(int fd, const void *data, size_t size) {
    if (!real) real = (write_fn)dlsym(RTLD_NEXT, "write");
    char link[64], path[PATH_MAX] = "", text[256], was[256], other[256];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length <= 0 || size >= sizeof text) return real(fd, data, size);
    path[length] = 0;
    if (!strstr(path, "/cpu/cpufreq/") && !strstr(path, "/devfreq/")) return real(fd, data, size);
    memcpy(text, data, size);
    text[size] = 0;
    text[strcspn(text, "\n")] = 0;
    char *name = strrchr(path, '/');
    *name++ = 0;
    int cpu = !strcmp(name, "scaling_governor");
    if (cpu || !strcmp(name, "governor")) {
        char offered[512];
        int found = 0;
        if (slurp(path, cpu ? "scaling_available_governors" : "available_governors", offered, sizeof offered) == 0)
            for (char *word = strtok(offered, " "); word; word = strtok(NULL, " ")) found |= !strcmp(word, text);
        if (!found) { errno = EINVAL; return -1; }
        if (slurp(path, name, was, sizeof was) == 0 && strcmp(was, text)) {
            if (cpu) { take_away(path, was); bring(path, text); }
            else { put(path, "upthreshold", "40\n"); put(path, "downdifferential", "20\n"); }
        }
    } else if (!strcmp(name, "scaling_min_freq") && slurp(path, "scaling_max_freq", other, sizeof other) == 0 &&
               atol(text) > atol(other)) {
        errno = EINVAL;
        return -1;
    } else if (!strcmp(name, "scaling_max_freq") && slurp(path, "scaling_min_freq", other, sizeof other) == 0 &&
               atol(text) < atol(other)) {
        errno = EINVAL;
        return -1;
    }
    if (ftruncate(fd, 0) || pwrite(fd, data, size, 0) < 0) return -1;
    return (ssize_t)size;
}
