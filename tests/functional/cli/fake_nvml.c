/* libnvidia-ml.so.1 of a machine with two cards, or with a driver that does not answer
 * (FAKE_NVML_INIT is what its init returns). Shapes as in NVIDIA's nvml.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SUCCESS = 0, NOT_SUPPORTED = 3, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7 };

typedef struct { unsigned long long total, free, used; } Memory;
typedef struct { unsigned int gpu, memory; } Utilization;
typedef struct {
    unsigned int pid;
    unsigned long long held;
    unsigned int gpu_instance, compute_instance;
} Process;

static const char *uuids[] = {"GPU-11111111-2222-3333-4444-555555555555",
                              "GPU-66666666-7777-8888-9999-aaaaaaaaaaaa"};
static const int cards[] = {0, 1};
static const unsigned long long GIB = 1ull << 30;

int nvmlInitWithFlags(unsigned int flags) {
    const char *code = getenv("FAKE_NVML_INIT");
    return code ? atoi(code) : SUCCESS;
}
int nvmlShutdown(void) { return SUCCESS; }
const char *nvmlErrorString(int code) { return "Some Error"; }
int nvmlSystemGetDriverVersion(char *text, unsigned int size) {
    snprintf(text, size, "550.54.14");
    return SUCCESS;
}
int nvmlSystemGetCudaDriverVersion_v2(int *version) { *version = 12040; return SUCCESS; }
int nvmlDeviceGetCount_v2(unsigned int *count) { *count = 2; return SUCCESS; }
int nvmlDeviceGetHandleByIndex_v2(unsigned int index, const int **card) {
    *card = &cards[index];
    return SUCCESS;
}
int nvmlDeviceGetHandleByUUID(const char *uuid, const int **card) {
    for (int index = 0; index < 2; index++)
        if (!strcmp(uuid, uuids[index])) { *card = &cards[index]; return SUCCESS; }
    return NOT_FOUND;
}
int nvmlDeviceGetUUID(const int *card, char *text, unsigned int size) {
    snprintf(text, size, "%s", uuids[*card]);
    return SUCCESS;
}
int nvmlDeviceGetName(const int *card, char *text, unsigned int size) {
    snprintf(text, size, "NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition");
    return SUCCESS;
}
int nvmlDeviceGetMemoryInfo(const int *card, Memory *memory) {
    *memory = (Memory){96 * GIB, 90 * GIB, 6 * GIB};
    return SUCCESS;
}
int nvmlDeviceGetUtilizationRates(const int *card, Utilization *rates) {
    *rates = (Utilization){37, 5};
    return SUCCESS;
}
int nvmlDeviceGetTemperature(const int *card, int sensor, unsigned int *degrees) {
    *degrees = 41;
    return SUCCESS;
}
int nvmlDeviceGetPowerUsage(const int *card, unsigned int *milliwatts) {
    *milliwatts = 86500;
    return *card ? NOT_SUPPORTED : SUCCESS;
}
int nvmlDeviceGetComputeRunningProcesses_v3(const int *card, unsigned int *count, Process *found) {
    if (*card) { *count = 0; return SUCCESS; }
    if (*count < 1) { *count = 1; return INSUFFICIENT_SIZE; }
    *count = 1;
    found[0] = (Process){atoi(getenv("FAKE_NVML_PID")), 5 * GIB, ~0u, ~0u};
    return SUCCESS;
}
