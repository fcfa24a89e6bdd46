//! The simulated miners of the demo. They speak the real protocols, on loopback addresses of their own.

use std::net::SocketAddr;

use fleet_agent::sim::{
    LoopbackBlock, LoopbackError, ProtoRig, ProtoRigConfig, WhatsMiner, WhatsMinerConfig, WhatsMinerModel,
};
use fleet_core::endpoint::{Endpoint, EndpointError};

/// The web password of the Proto rig. It is in nobody's way: the rig is simulated and on loopback.
pub(super) const RIG_PASSWORD: &str = "demo-rig-password";

/// The miners did not start.
#[derive(Debug, thiserror::Error)]
pub(super) enum MinersError {
    #[error("no loopback addresses for the miners")]
    Loopback(#[from] LoopbackError),
    #[error("a simulated miner does not start")]
    Io(#[from] std::io::Error),
    #[error("a simulated miner has no usable name")]
    Endpoint(#[from] EndpointError),
}

/// What can be done to a simulated miner.
enum Miner {
    WhatsMiner(WhatsMiner),
    Rig(ProtoRig),
}

/// The miners of the demo.
pub(super) struct Miners {
    miners: Vec<(&'static str, Miner)>,
    block: LoopbackBlock,
    rig: Endpoint,
    rig_port: u16,
}

impl Miners {
    /// Starts them: three WhatsMiners and a Proto rig behind a password.
    pub(super) async fn start() -> Result<Self, MinersError> {
        let block = LoopbackBlock::reserve()?;
        let mut miners = Vec::new();
        for (seed, name, model) in [
            (1, "WhatsMiner M30S++", WhatsMinerModel::M30SPlusPlus),
            (2, "WhatsMiner M50S", WhatsMinerModel::M50S),
            (3, "WhatsMiner M20S", WhatsMinerModel::M20S),
        ] {
            let miner = WhatsMiner::start(block.address()?, WhatsMinerConfig::new(model, seed)).await?;
            miners.push((name, Miner::WhatsMiner(miner)));
        }
        let address = SocketAddr::from((block.address()?, 0));
        let rig = ProtoRig::start(address, ProtoRigConfig::new(4, RIG_PASSWORD)).await?;
        let (endpoint, rig_port) = (rig.endpoint()?, rig.address().port());
        miners.push(("Proto rig", Miner::Rig(rig)));
        Ok(Self { miners, block, rig: endpoint, rig_port })
    }

    /// The range to scan.
    pub(super) fn range(&self) -> String {
        self.block.cidr()
    }

    /// The rig that wants a password, and the port of its kind.
    pub(super) const fn rig(&self) -> (&Endpoint, u16) {
        (&self.rig, self.rig_port)
    }

    pub(super) const fn count(&self) -> usize {
        self.miners.len()
    }

    /// The miners by number, name and address.
    pub(super) fn describe(&self) -> impl Iterator<Item = (usize, &'static str, SocketAddr)> {
        self.miners.iter().enumerate().map(|(index, (name, miner))| {
            let address = match miner {
                Miner::WhatsMiner(miner) => miner.address(),
                Miner::Rig(rig) => rig.address(),
            };
            (index.saturating_add(1), *name, address)
        })
    }

    /// Pulls the plug of miner `number`, or puts it in again. Returns whether there is one.
    pub(super) async fn power(&self, number: usize, on: bool) -> Result<bool, MinersError> {
        let Some((_, miner)) = number.checked_sub(1).and_then(|index| self.miners.get(index)) else {
            return Ok(false);
        };
        match (miner, on) {
            (Miner::WhatsMiner(miner), true) => miner.revive().await?,
            (Miner::WhatsMiner(miner), false) => miner.kill().await,
            (Miner::Rig(rig), true) => rig.revive().await?,
            (Miner::Rig(rig), false) => rig.kill().await,
        }
        Ok(true)
    }
}
