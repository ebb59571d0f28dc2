"""The studies by slug. Adding one is a folder in `studies`, and here its import and its place."""

from casestudies.lab.contract import Study
from casestudies.lab.machine import Machine
from casestudies.lab.studies.attention_approximation import about as attention_approximation
from casestudies.lab.studies.auto_parallel import about as auto_parallel
from casestudies.lab.studies.cascade import about as cascade
from casestudies.lab.studies.chunked_prefill import about as chunked_prefill
from casestudies.lab.studies.communication_compression import about as communication_compression
from casestudies.lab.studies.contextual_sparsity import about as contextual_sparsity
from casestudies.lab.studies.continuous_batching import about as continuous_batching
from casestudies.lab.studies.decentralized import about as decentralized
from casestudies.lab.studies.distillation import about as distillation
from casestudies.lab.studies.elastic import about as elastic
from casestudies.lab.studies.fault_tolerance import about as fault_tolerance
from casestudies.lab.studies.fused_attention import about as fused_attention
from casestudies.lab.studies.fused_layers import about as fused_layers
from casestudies.lab.studies.heterogeneous_ranks import about as heterogeneous_ranks
from casestudies.lab.studies.kv_cache import about as kv_cache
from casestudies.lab.studies.lomo import about as lomo
from casestudies.lab.studies.lora import about as lora
from casestudies.lab.studies.memory_planning import about as memory_planning
from casestudies.lab.studies.mixed_precision import about as mixed_precision
from casestudies.lab.studies.mixture_of_experts import about as mixture_of_experts
from casestudies.lab.studies.multi_lora import about as multi_lora
from casestudies.lab.studies.offloading import about as offloading
from casestudies.lab.studies.outlier_codes import about as outlier_codes
from casestudies.lab.studies.padding_removal import about as padding_removal
from casestudies.lab.studies.paged_kv_cache import about as paged_kv_cache
from casestudies.lab.studies.phase_splitting import about as phase_splitting
from casestudies.lab.studies.pipeline_parallel import about as pipeline_parallel
from casestudies.lab.studies.prefix_cache import about as prefix_cache
from casestudies.lab.studies.qmoe import about as qmoe
from casestudies.lab.studies.quantization import about as quantization
from casestudies.lab.studies.recomputation import about as recomputation
from casestudies.lab.studies.request_scheduling import about as request_scheduling
from casestudies.lab.studies.sequence_parallel import about as sequence_parallel
from casestudies.lab.studies.sparse_training_state import about as sparse_training_state
from casestudies.lab.studies.sparsegpt import about as sparsegpt
from casestudies.lab.studies.speculative_decoding import about as speculative_decoding
from casestudies.lab.studies.statistical_multiplexing import about as statistical_multiplexing
from casestudies.lab.studies.structured_pruning import about as structured_pruning
from casestudies.lab.studies.tensor_parallel import about as tensor_parallel
from casestudies.lab.studies.zero import about as zero

STUDIES: dict[str, Study] = {
    module.STUDY.slug: module.STUDY
    for module in (
        sparsegpt,
        qmoe,
        kv_cache,
        paged_kv_cache,
        prefix_cache,
        fused_attention,
        padding_removal,
        fused_layers,
        zero,
        lora,
        lomo,
        memory_planning,
        pipeline_parallel,
        tensor_parallel,
        heterogeneous_ranks,
        quantization,
        outlier_codes,
        offloading,
        recomputation,
        mixed_precision,
        attention_approximation,
        continuous_batching,
        request_scheduling,
        chunked_prefill,
        statistical_multiplexing,
        phase_splitting,
        speculative_decoding,
        distillation,
        structured_pruning,
        sparse_training_state,
        contextual_sparsity,
        cascade,
        mixture_of_experts,
        communication_compression,
        multi_lora,
        fault_tolerance,
        elastic,
        decentralized,
        sequence_parallel,
        auto_parallel,
    )
}


def this_machine() -> Machine:
    """Return this machine, with those libraries that a preset of any study asks for."""
    wanted = {
        library
        for study in STUDIES.values()
        for preset in study.presets
        for library in study.needs(study.check(preset, {})).libraries
    }
    return Machine.here(wanted)
