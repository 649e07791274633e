"""torch's build against the driver and the accelerators that are here."""

from __future__ import annotations

from diagnostics.case import Accelerators, Case, Cause, Fault, Finding, Packages, Platform, Remedy, TorchBuild, Unseen
from diagnostics.causes.files_words import found, named, of_step, seen
from diagnostics.causes.settings_common import unset
from diagnostics.causes.versions_common import Recognise, install, python_of
from diagnostics.facts.accelerators import build_facts, fits

NO_CARD = Unseen("unsupported", "no accelerator here; a made NVML library and a hand-made Case stand in")
# CUDA of torch's published builds, newest first (pytorch.org/get-started/previous-versions).
WHEELS = (
    ("13.2", "cu132"),
    ("13.0", "cu130"),
    ("12.9", "cu129"),
    ("12.8", "cu128"),
    ("12.6", "cu126"),
    ("12.4", "cu124"),
    ("12.1", "cu121"),
    ("11.8", "cu118"),
)

_NEWEST = "2.13"  # the torch that an index of wheels is taken to hold


def _facts(case: Case, faults: list[Fault]) -> dict[str, str]:
    build = case.packages.torch if isinstance(case.packages, Packages) else None
    here = case.accelerators if isinstance(case.accelerators, Accelerators) else Accelerators(source="none")
    first = faults[0]
    return {
        "version": build.version if isinstance(build, TorchBuild) else "",
        "cuda": build.cuda if isinstance(build, TorchBuild) else "",
        "driver": here.driver,
        "driver_cuda": here.cuda,
        "devices": ", ".join(device.name for device in here.devices) or "an accelerator",
        "capability": seen(first, "compute capability").seen,
        "kernels": seen(first, "compute capability").expected,
        "subjects": named(fault.subject for fault in faults),
        "wanted": here.wanted,
        "why_hidden": _why_hidden(first),
        "hidden_by": here.hidden_by,
    }


def _why_hidden(fault: Fault) -> str:
    for fact, text in (("hidden by", "{} hides it"), ("no permission", "this user may not open {}"), ("the driver says", "{}")):
        if said := seen(fault, fact).seen:
            return text.format(said)
    return "nothing shows it to this process"


def _by_code(cause: str, code: str) -> Recognise:
    def recognise(case: Case, faults: tuple[Fault, ...]) -> list[Finding]:
        own = of_step(faults, "packages", code)
        return found(cause, own, _facts(case, own)) if own else []

    return recognise


def _wheel(driver_cuda: str, capability: str = "") -> str:
    """The newest build that this driver runs (any of its own major version or an older one) and that has kernels for the device; else the newest it runs."""
    major = int(driver_cuda.split(".")[0]) if driver_cuda.split(".")[0].isdigit() else 99
    runs = [(cuda, tag) for cuda, tag in WHEELS if int(cuda.split(".")[0]) <= major] or [WHEELS[-1]]
    fitting = (tag for cuda, tag in runs if (built := build_facts(_NEWEST, cuda)) and fits(capability, built.kernels, built.ptx))
    return next(fitting, runs[0][1])


def _build_remedy(case: Case, tag: str, do: str) -> Remedy:
    return Remedy(
        do=do,
        run=install(case, "--force-reinstall", "torch", "--index-url", f"https://download.pytorch.org/whl/{tag}"),
        check=f"{python_of(case)} -c 'import torch; print(torch.version.cuda, torch.cuda.is_available())'",
    )


def _without_cuda_remedies(finding: Finding, case: Case) -> list[Remedy]:
    return [_build_remedy(case, _wheel(finding.facts["driver_cuda"]), "Install the build for CUDA that this driver runs.")]


def _driver_remedies(finding: Finding, case: Case) -> list[Remedy]:
    facts = finding.facts
    update = Remedy(
        do=f"Update the NVIDIA driver to one for CUDA {facts['cuda']} (in a container: the host's driver).",
        run="nvidia-smi",
        check=f"{python_of(case)} -c 'import torch; print(torch.cuda.is_available())'",
    )
    return [_build_remedy(case, _wheel(facts["driver_cuda"]), f"Take a build of torch that this driver runs (CUDA {facts['driver_cuda']})."), update]


def _kernel_remedies(finding: Finding, case: Case) -> list[Remedy]:
    capability = finding.facts["capability"]
    return [
        _build_remedy(case, _wheel(finding.facts["driver_cuda"], capability), f"Take a build of torch that has kernels for compute capability {capability}.")
    ]


def _hidden_remedies(finding: Finding, case: Case) -> list[Remedy]:
    facts = finding.facts
    platform = case.environment.platform
    container = platform.container if isinstance(platform, Platform) else ""
    check = f"{python_of(case)} -c 'import torch; print(torch.cuda.device_count())'"
    if facts["hidden_by"]:
        return [
            Remedy(
                do=f"{facts['hidden_by']} hides every accelerator: unset it, or name those that are meant.",
                run=unset("CUDA_VISIBLE_DEVICES"),
                check=check,
            )
        ]
    ways = {
        "docker": Remedy(do="Start the container with the accelerators.", run="docker run --gpus all …", check="nvidia-smi"),
        "podman": Remedy(do="Start the container with the accelerators.", run="podman run --device nvidia.com/gpu=all …", check="nvidia-smi"),
        "kubernetes": Remedy(do="Ask for it in the pod: resources.limits nvidia.com/gpu: 1.", run="kubectl describe pod $HOSTNAME", check="nvidia-smi"),
        "slurm": Remedy(do="Ask for it in the job.", run="#SBATCH --gres=gpu:1", check="nvidia-smi"),
    }
    other = Remedy(
        do="See what the driver says; where devices may not be opened, join the group that owns them (render, video); after an update of the driver restart the machine.",
        run="nvidia-smi; ls -l /dev/nvidia* /dev/kfd /dev/dri",
        check=check,
    )
    return [ways.get(container, other), *([other] if container in ways else [])]


CAUSES: tuple[Cause, ...] = (
    Cause(
        id="gpu-not-visible",
        owner=("you",),
        title="{devices} cannot be used by this process: {why_hidden}",
        why="A framework built for it sees none and goes on without, or ends where one is needed. {wanted}",
        recognise=_by_code("gpu-not-visible", "hidden"),
        remedies=_hidden_remedies,
        lab=NO_CARD,
    ),
    Cause(
        id="torch-without-cuda",
        owner=("you",),
        title="torch {version} is built without CUDA, and {devices} is here",
        why="It computes on the processor only: “Torch not compiled with CUDA enabled”. {wanted}",
        recognise=_by_code("torch-without-cuda", "cpu-build"),
        remedies=_without_cuda_remedies,
        lab=NO_CARD,
    ),
    Cause(
        id="cuda-driver-too-old",
        owner=("machine",),
        title="The NVIDIA driver {driver} runs CUDA up to {driver_cuda}, and torch {version} is built for {cuda}",
        why="torch sees no accelerator then: “The NVIDIA driver on your system is too old”.",
        recognise=_by_code("cuda-driver-too-old", "driver"),
        remedies=_driver_remedies,
        lab=NO_CARD,
    ),
    Cause(
        id="gpu-unsupported",
        owner=("machine",),
        title="torch {version} has no kernels for {subjects} (compute capability {capability}; it has {kernels})",
        why="The first computation ends with “no kernel image is available for execution on the device”.",
        recognise=_by_code("gpu-unsupported", "kernels"),
        remedies=_kernel_remedies,
        lab=NO_CARD,
    ),
)
