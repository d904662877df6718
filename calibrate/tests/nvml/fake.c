/* A stand-in for libnvidia-ml.so.1 with the functions that surgeline uses, and no GPU behind it.
 *
 * What it pretends is fixed when it is compiled, by -D:
 *   <FUNCTION>_RETURNS  the error that a function returns, 0 for success, such as POWER_RETURNS=3
 *   LOST_AFTER          readings of power after which every call says that the GPU is lost
 *   SIGNAL_AFTER        the reading of power at which the process gets what Ctrl-C sends
 *   TIMEOUT_AT          the reading of the temperature, from 1, that times out
 *   GPM_ID_MISSING      a metric that the device does not have
 *   and the values below.
 *
 * The layout of structures and the numbers of errors are those of nvml.h 12. */

#include <math.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#define SUCCESS 0
#define INVALID_ARGUMENT 2
#define NOT_SUPPORTED 3
#define NOT_FOUND 6
#define INSUFFICIENT_SIZE 7
#define TIMEOUT 10
#define LOST 15

#ifndef INIT_RETURNS
#define INIT_RETURNS SUCCESS
#endif
#ifndef HANDLE_RETURNS
#define HANDLE_RETURNS SUCCESS
#endif
#ifndef POWER_RETURNS
#define POWER_RETURNS SUCCESS
#endif
#ifndef ENERGY_RETURNS
#define ENERGY_RETURNS SUCCESS
#endif
#ifndef UTILISATION_RETURNS
#define UTILISATION_RETURNS SUCCESS
#endif
#ifndef THROTTLE_RETURNS
#define THROTTLE_RETURNS SUCCESS
#endif
#ifndef PROCESSES_RETURNS
#define PROCESSES_RETURNS SUCCESS
#endif
#ifndef CORES_RETURNS
#define CORES_RETURNS SUCCESS
#endif
#ifndef GPM_RETURNS
#define GPM_RETURNS SUCCESS
#endif
#ifndef LOST_AFTER
#define LOST_AFTER 1000000000
#endif
#ifndef TIMEOUT_AT
#define TIMEOUT_AT 0
#endif
#ifndef SIGNAL_AFTER
#define SIGNAL_AFTER 0
#endif
#ifndef SLOW_READING_US
#define SLOW_READING_US 0
#endif
#ifndef GPM_ID_MISSING
#define GPM_ID_MISSING 0
#endif

#ifndef DEVICES
#define DEVICES 2
#endif
#ifndef NAME
#define NAME "NVIDIA H100 80GB HBM3"
#endif
#ifndef POWER_MW
#define POWER_MW 400000
#endif
/* The counter rises by so much from one reading to the next. */
#ifndef ENERGY_STEP_MJ
#define ENERGY_STEP_MJ 40000
#endif
#ifndef UTILISATION
#define UTILISATION 97
#endif
#ifndef SM_MHZ
#define SM_MHZ 1900
#endif
#ifndef THROTTLE_BITS
#define THROTTLE_BITS 0
#endif
#ifndef TEMPERATURE
#define TEMPERATURE 61
#endif
#ifndef MEMORY_USED
#define MEMORY_USED 64424509440ull
#endif
#ifndef PROCESSES
#define PROCESSES 2
#endif
#ifndef PROCESS_MEMORY
#define PROCESS_MEMORY 32212254720ull
#endif
#ifndef GPM_VALUE
#define GPM_VALUE 42.5
#endif

typedef int Return;
typedef void *Device;

static int handles[DEVICES + 1];
static int power_readings;
static int temperature_readings;
static unsigned long long energy = 123456789;

#define ANSWER(code)                                                                               \
    do {                                                                                           \
        if (power_readings > LOST_AFTER) return LOST;                                              \
        if ((code) != SUCCESS) return (code);                                                      \
    } while (0)

Return nvmlInit_v2(void) { return INIT_RETURNS; }
#ifndef NO_SHUTDOWN
Return nvmlShutdown(void) { return SUCCESS; }
#endif

static Return text(const char *from, char *to, unsigned length) {
    if (strlen(from) >= length) return INSUFFICIENT_SIZE;
    strcpy(to, from);
    return SUCCESS;
}

Return nvmlSystemGetDriverVersion(char *to, unsigned length) { return text("570.86.15", to, length); }
Return nvmlSystemGetNVMLVersion(char *to, unsigned length) { return text("12.570.86.15", to, length); }
Return nvmlSystemGetCudaDriverVersion_v2(int *version) {
    *version = 12080;
    return SUCCESS;
}
Return nvmlDeviceGetCount_v2(unsigned *count) {
    *count = DEVICES;
    return SUCCESS;
}
Return nvmlDeviceGetHandleByIndex_v2(unsigned index, Device *device) {
    ANSWER(HANDLE_RETURNS);
    if (index >= DEVICES) return INVALID_ARGUMENT;
    *device = &handles[index];
    return SUCCESS;
}
Return nvmlDeviceGetIndex(Device device, unsigned *index) {
    *index = (int *)device - handles;
    return SUCCESS;
}
Return nvmlDeviceGetUUID(Device device, char *to, unsigned length) {
    return text(device == &handles[0] ? "GPU-0000" : "GPU-1111", to, length);
}
Return nvmlDeviceGetHandleByUUID(const char *uuid, Device *device) {
    ANSWER(HANDLE_RETURNS);
    if (strcmp(uuid, "GPU-1111") != 0) return NOT_FOUND;
    *device = &handles[1];
    return SUCCESS;
}
Return nvmlDeviceGetName(Device device, char *to, unsigned length) { return text(NAME, to, length); }
Return nvmlDeviceGetArchitecture(Device device, unsigned *architecture) {
    *architecture = 9; /* Hopper */
    return SUCCESS;
}
Return nvmlDeviceGetNumGpuCores(Device device, unsigned *cores) {
    ANSWER(CORES_RETURNS);
    *cores = 16896;
    return SUCCESS;
}
Return nvmlDeviceGetEnforcedPowerLimit(Device device, unsigned *milliwatts) {
    *milliwatts = 700000;
    return SUCCESS;
}
Return nvmlDeviceGetPowerManagementDefaultLimit(Device device, unsigned *milliwatts) {
    *milliwatts = 700000;
    return SUCCESS;
}
Return nvmlDeviceGetPowerManagementLimitConstraints(Device device, unsigned *least, unsigned *most) {
    *least = 200000;
    *most = 700000;
    return SUCCESS;
}
Return nvmlDeviceGetMaxClockInfo(Device device, int clock, unsigned *mhz) {
    *mhz = clock == 2 ? 2619 : 1980;
    return SUCCESS;
}
Return nvmlDeviceGetMigMode(Device device, unsigned *current, unsigned *pending) {
    *current = *pending = 0;
    return SUCCESS;
}

typedef struct {
    unsigned version;
    unsigned long long total, reserved, free, used;
} Memory;
Return nvmlDeviceGetMemoryInfo_v2(Device device, Memory *memory) {
    ANSWER(SUCCESS);
    if (memory->version != (sizeof(Memory) | 2 << 24)) return 25;
    memory->total = 85899345920ull;
    memory->reserved = 1073741824ull;
    memory->used = MEMORY_USED;
    memory->free = memory->total - memory->used;
    return SUCCESS;
}
Return nvmlDeviceGetPowerUsage(Device device, unsigned *milliwatts) {
    power_readings++;
    ANSWER(POWER_RETURNS);
    if (power_readings == SIGNAL_AFTER) kill(getpid(), SIGINT);
    if (SLOW_READING_US > 0) usleep(SLOW_READING_US);
    *milliwatts = POWER_MW;
    return SUCCESS;
}
Return nvmlDeviceGetTotalEnergyConsumption(Device device, unsigned long long *millijoules) {
    ANSWER(ENERGY_RETURNS);
    *millijoules = energy;
    energy += ENERGY_STEP_MJ;
    return SUCCESS;
}
Return nvmlDeviceGetUtilizationRates(Device device, unsigned rates[2]) {
    ANSWER(UTILISATION_RETURNS);
    rates[0] = UTILISATION;
    rates[1] = 55;
    return SUCCESS;
}
Return nvmlDeviceGetClockInfo(Device device, int clock, unsigned *mhz) {
    ANSWER(SUCCESS);
    *mhz = clock == 2 ? 2619 : SM_MHZ;
    return SUCCESS;
}
Return nvmlDeviceGetTemperature(Device device, int sensor, unsigned *degrees) {
    temperature_readings++;
    ANSWER(temperature_readings == TIMEOUT_AT ? TIMEOUT : SUCCESS);
    *degrees = TEMPERATURE;
    return SUCCESS;
}
Return nvmlDeviceGetCurrentClocksThrottleReasons(Device device, unsigned long long *bits) {
    ANSWER(THROTTLE_RETURNS);
    *bits = THROTTLE_BITS;
    return SUCCESS;
}

typedef struct {
    unsigned pid;
    unsigned long long memory;
    unsigned gpu_instance, compute_instance;
} Process;
Return nvmlDeviceGetComputeRunningProcesses_v3(Device device, unsigned *count, Process *processes) {
    ANSWER(PROCESSES_RETURNS);
    unsigned room = *count;
    *count = PROCESSES;
    if (PROCESSES == 0) return SUCCESS;
    if (room < PROCESSES) return INSUFFICIENT_SIZE;
    for (unsigned i = 0; i < PROCESSES; i++)
        processes[i] = (Process){1000 + i, PROCESS_MEMORY, ~0u, ~0u};
    return SUCCESS;
}

typedef struct {
    unsigned version, supported;
} Support;
typedef struct {
    unsigned id;
    Return code;
    double value;
    struct {
        char *short_name, *long_name, *unit;
    } info;
} Metric;
typedef struct {
    unsigned version, count;
    void *first, *second;
    Metric metrics[]; /* as many as `count` says are looked at */
} Metrics;
Return nvmlGpmQueryDeviceSupport(Device device, Support *support) {
    support->supported = GPM_RETURNS != NOT_SUPPORTED;
    return SUCCESS;
}
Return nvmlGpmSampleAlloc(void **sample) {
    static int samples[1];
    *sample = samples;
    return SUCCESS;
}
Return nvmlGpmSampleFree(void *sample) { return SUCCESS; }
Return nvmlGpmSampleGet(Device device, void *sample) {
    ANSWER(GPM_RETURNS);
    return SUCCESS;
}
Return nvmlGpmMetricsGet(Metrics *metrics) {
    ANSWER(SUCCESS);
    for (unsigned i = 0; i < metrics->count; i++) {
        Metric *metric = &metrics->metrics[i];
        metric->code = metric->id == GPM_ID_MISSING ? NOT_SUPPORTED : SUCCESS;
        metric->value = GPM_VALUE;
        metric->info.unit = metric->id >= 20 ? "MiB/s" : "%";
    }
    return SUCCESS;
}
